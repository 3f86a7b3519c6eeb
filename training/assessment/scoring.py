"""Scores of crops by the network in torch, in fp32, without augmentation.

Legend: N crops, S the network's input side.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from lnclip.artifact import Identity
from lnclip.encoder import FaceEncoder, class_column
from lnclip.errors import ConfigError, ImageError
from lnclip.index import Item
from lnclip.intake import read_image
from lnclip.preprocess import fit_input, normalise
from lnclip.spec import PreprocessSpec

log = logging.getLogger(__name__)

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float64]
Distortion = Callable[[Pixels, Item], Pixels]
"""What is done to a crop, (H, W, 3) at its own size, before the network's preprocessing."""

BATCH_SIZE = 64
MAX_WORKERS = 16
MIN_CROPS_PER_WORKER = 64
"""Fewer are read sooner than a process starts."""

LOG_EVERY_S = 30.0


def score_items(
    encoder: FaceEncoder, identity: Identity, items: Sequence[Item], num_workers: int = 0
) -> NDArray[np.float64]:
    """Calibrated p_fake of each crop, (N,), on the encoder's device.

    Raises:
        ConfigError: a crop cannot be read.
    """
    return calibrated(logit_margins(encoder, identity, items, num_workers), identity.temperature)


def logit_margins(
    encoder: FaceEncoder,
    identity: Identity,
    items: Sequence[Item],
    num_workers: int = 0,
    distort: Distortion | None = None,
) -> NDArray[np.float64]:
    """Logit of fake less logit of real of each crop, (N,), no temperature; raises as ``score_items``."""
    device, fake = next(encoder.parameters()).device, class_column(identity, "fake")
    batches: DataLoader[Pixels | ConfigError] = DataLoader(
        CropFiles(items, identity.spec, distort),
        batch_size=BATCH_SIZE,
        num_workers=num_workers,
        collate_fn=_Collate(identity.spec),
        pin_memory=device.type == "cuda",
    )
    margins, last = [np.zeros(0)], time.monotonic()
    with torch.inference_mode():
        for pixels_NCHW in batches:
            if isinstance(pixels_NCHW, ConfigError):
                raise pixels_NCHW
            logits = encoder(pixels_NCHW.to(device, non_blocking=True)).logits.double()
            margins.append((logits[:, fake] - logits[:, 1 - fake]).cpu().numpy())
            if time.monotonic() - last > LOG_EVERY_S:
                last = time.monotonic()
                log.info("%d of %d crops scored", sum(map(len, margins)), len(items))
    return np.concatenate(margins)


def calibrated(margins: Floats, temperature: float) -> Floats:
    """p_fake of logit margins, (N,): the softmax of two logits is the sigmoid of their difference."""
    return np.asarray(np.exp(-np.logaddexp(0.0, -margins / temperature)))


def workers_for(num_crops: int) -> int:
    """How many processes shall read so many crops; 0 for few, and on one core."""
    cores = len(os.sched_getaffinity(0))
    return 0 if cores == 1 else min(cores, MAX_WORKERS, num_crops // MIN_CROPS_PER_WORKER)


class CropFiles(Dataset[Pixels | ConfigError]):
    """Crops as the network's input, (S, S, 3), or why one cannot be: an error raised in a worker loses its class."""

    def __init__(self, items: Sequence[Item], spec: PreprocessSpec, distort: Distortion | None) -> None:
        """``distort`` sees each crop at its own size."""
        self.items, self.spec, self.distort = items, spec, distort

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, position: int) -> Pixels | ConfigError:
        item = self.items[position]
        try:
            crop = read_pixels(item.path)
        except ConfigError as error:
            return error
        return fit_input(self.distort(crop, item) if self.distort else crop, self.spec)


def read_pixels(path: Path) -> Pixels:
    """A crop's file at its own size, (H, W, 3).

    Raises:
        ConfigError: it cannot be read; names the file.
    """
    try:
        return read_image(path.read_bytes()).pixels
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    except ImageError as error:
        raise ConfigError(f"{path} is no readable crop ({error}); take its row out of the index") from error


class _Collate:
    """Samples as one tensor, (N, 3, S, S); the first error among them in its stead."""

    def __init__(self, spec: PreprocessSpec) -> None:
        self.spec = spec

    def __call__(self, samples: Sequence[Pixels | ConfigError]) -> Tensor | ConfigError:
        crops: list[Pixels] = []
        for sample in samples:
            if isinstance(sample, ConfigError):
                return sample
            crops.append(sample)
        return torch.from_numpy(normalise(np.stack(crops), self.spec))
