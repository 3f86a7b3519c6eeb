"""Scores of crops by the network in torch, and of videos, which are the mean of their crops'.

In fp32, without augmentation. Legend: N crops, V videos, S the network's input side.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from lnclip.artifact import Identity
from lnclip.encoder import FaceEncoder, class_column
from lnclip.errors import ConfigError, ImageError
from lnclip.intake import read_image
from lnclip.preprocess import fit_input, normalise
from lnclip.spec import PreprocessSpec
from training.data.index import Item

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


class Scored(NamedTuple):
    """N crops and what the network says of them."""

    items: list[Item]
    p_fake: Floats
    """(N,)"""

    @property
    def is_fake(self) -> NDArray[np.int64]:
        """(N,) 1 for fake."""
        return is_fake(self.items)


class VideoScores(NamedTuple):
    """V videos in the order of their first crops."""

    items: list[Item]
    """The first crop of each."""

    is_fake: NDArray[np.int64]
    """(V,) 1 for fake."""

    p_fake: Floats
    """(V,) mean over the video's crops."""


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


def is_fake(items: Sequence[Item]) -> NDArray[np.int64]:
    """(N,) 1 for fake."""
    return np.array([item.label == "fake" for item in items], np.int64)


def by_dataset(items: Sequence[Item], p_fake: Floats) -> dict[str, Scored]:
    """Each data set's crops, in the order the data sets come; "unnamed" has those that name none."""
    places: dict[str, list[int]] = {}
    for place, item in enumerate(items):
        places.setdefault(item.dataset or "unnamed", []).append(place)
    return {name: Scored([items[place] for place in chosen], p_fake[chosen]) for name, chosen in places.items()}


def pool_videos(items: Sequence[Item], p_fake: Floats) -> VideoScores:
    """The mean of each video's crops; a crop whose video is not named is one of its own.

    Args:
        items: N crops; those with the same dataset, source and video are one.
        p_fake: (N,).

    Raises:
        ConfigError: a video has crops of both labels.

    Source: the video score of arXiv 2508.06248's code.
    """
    numbers, first = clip_numbers(items)
    firsts = [items[position] for position in first]
    for item, number in zip(items, numbers.tolist(), strict=True):
        if item.label != firsts[number].label:
            raise ConfigError(
                f"video {item.video!r} of source {item.source!r}, data set {item.dataset!r} has crops of both labels, "
                f"for example {firsts[number].path} and {item.path}; give each label a video or source of its own"
            )
    return VideoScores(firsts, is_fake(firsts), np.bincount(numbers, p_fake, len(firsts)) / np.bincount(numbers))


def clip_numbers(items: Sequence[Item]) -> tuple[NDArray[np.int64], list[int]]:
    """Which video each crop is of, (N,), counted from 0 as they come, and each video's first crop."""
    number_of: dict[tuple[str, ...] | int, int] = {}
    numbers, first = np.zeros(len(items), np.int64), list[int]()
    for position, item in enumerate(items):
        key = (item.dataset, item.source, item.video) if item.video else position
        numbers[position] = number_of.setdefault(key, len(number_of))
        if len(number_of) > len(first):
            first.append(position)
    return numbers, first


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
