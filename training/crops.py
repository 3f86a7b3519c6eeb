"""Crops as batches. Every random draw is a function of seed, epoch and index: nothing else.

Legend: N crops, S the network's input side.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from lnclip.errors import ConfigError, ImageError
from lnclip.intake import read_image
from lnclip.preprocess import fit_input, normalise
from lnclip.spec import PreprocessSpec
from training.augmentation import augment
from training.config import TrainConfig
from training.index import Item

Pixels = NDArray[np.uint8]

ORDER, LABELS = 1, 2
"""Say what a random stream is for, so that two never coincide; an augmentation's has no such word."""


class Batch(NamedTuple):
    """What one optimiser step reads."""

    pixels: Tensor
    """(N, 3, S, S) float32, normalised."""

    columns: Tensor
    """(N,) int64: the logit that each crop's label names."""

    indices: Tensor
    """(N,) positions in the index."""


class Draw(NamedTuple):
    """One crop, seen in one epoch."""

    epoch: int
    position: int
    """In the index."""


def read_crop(path: Path, spec: PreprocessSpec) -> Pixels:
    """A crop's file as the network's input, (S, S, 3).

    Raises:
        ConfigError: it cannot be read; names the file.
    """
    try:
        return fit_input(read_image(path.read_bytes()).pixels, spec)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    except ImageError as error:
        raise ConfigError(f"{path} is no readable crop ({error}); take its row out of the index") from error


class CropDataset(Dataset[tuple[Pixels, int, int]]):
    """Crops and their labels; asked for a ``Draw``, answers the augmented crop, its column and its position."""

    def __init__(self, items: Sequence[Item], class_order: Sequence[str], config: TrainConfig) -> None:
        """``class_order`` says which of the head's rows means real and which fake."""
        self.items, self.config, self.spec = items, config, config.spec
        self.columns = np.array([class_order.index(item.label) for item in items])
        if config.shuffle_labels:
            self.columns = shuffled(self.columns, config.seed)
        self._held = [read_crop(item.path, self.spec) for item in items] if config.in_memory else None

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, draw: Draw) -> tuple[Pixels, int, int]:
        epoch, position = draw
        crop = self._held[position] if self._held else read_crop(self.items[position].path, self.spec)
        rng = np.random.default_rng([self.config.seed, epoch, position])
        return augment(crop, self.config.augmentation, rng), int(self.columns[position]), position

    def collate(self, samples: Sequence[tuple[Pixels, int, int]]) -> Batch:
        """Samples as tensors."""
        crops, columns, indices = zip(*samples, strict=True)
        pixels = torch.from_numpy(normalise(np.stack(crops), self.spec))
        return Batch(pixels, torch.tensor(columns), torch.tensor(indices))


def shuffled(columns: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """Half of each class, drawn at random, with the other label: no correlation with the truth is left."""
    rng = np.random.default_rng([seed, 0, 0, LABELS])
    swapped = columns.copy()
    for column in (0, 1):
        members = rng.permutation(np.flatnonzero(columns == column))
        swapped[members[: len(members) // 2]] = 1 - column
    return swapped


class EpochSampler(Sampler[Draw]):
    """Another order each epoch; the trainer calls ``set_epoch``."""

    def __init__(self, groups: Sequence[Sequence[int]], seed: int) -> None:
        """``groups`` are positions that stay side by side."""
        self.groups, self.seed, self.epoch = groups, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Which epoch's order comes next."""
        self.epoch = epoch

    def __len__(self) -> int:
        return sum(map(len, self.groups))

    def __iter__(self) -> Iterator[Draw]:
        order = np.random.default_rng([self.seed, self.epoch, 0, ORDER]).permutation(len(self.groups))
        return (Draw(self.epoch, position) for group in order.tolist() for position in self.groups[group])


def groups_of(items: Sequence[Item], *, pairs_together: bool) -> list[list[int]]:
    """Positions by pair, or each by itself; items without a pair are by themselves anyway."""
    groups: dict[str | int, list[int]] = {}
    for position, item in enumerate(items):
        groups.setdefault(item.pair if pairs_together and item.pair else position, []).append(position)
    return list(groups.values())


def training_batches(dataset: CropDataset) -> DataLoader[tuple[Pixels, int, int]]:
    """Batches of one epoch after another, the last incomplete one left out."""
    config = dataset.config
    return DataLoader(
        dataset,
        batch_size=config.batch_size,
        sampler=EpochSampler(groups_of(dataset.items, pairs_together=config.pairs_together), config.seed),
        num_workers=config.num_workers,
        persistent_workers=config.num_workers > 0,
        collate_fn=dataset.collate,
        drop_last=True,
    )
