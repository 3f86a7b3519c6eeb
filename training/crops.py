"""Crops as batches. Every random draw is a function of seed, epoch and index: nothing else.

Legend: N crops of one device's part of a batch, S the network's input side.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from lnclip.index import Item
from lnclip.preprocess import fit_input, normalise
from training.assessment.scoring import read_pixels
from training.augmentation import augment
from training.config import TrainConfig

Pixels = NDArray[np.uint8]

ORDER, LABELS, MIXING, DROPOUT = 1, 2, 3, 4
"""Say what a random stream is for, so that two never coincide; an augmentation's has no such word."""


class Batch(NamedTuple):
    """What one device reads of a batch."""

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


class Stripe(NamedTuple):
    """Which part of every batch is one device's: the ``rank``-th of as many equal ones as there are devices."""

    rank: int = 0
    devices: int = 1


WHOLE = Stripe()
"""One device sees all of every batch."""


class CropDataset(Dataset[tuple[Pixels, int, int]]):
    """Crops and their labels; asked for a ``Draw``, answers the augmented crop, its column and its position."""

    def __init__(self, items: Sequence[Item], class_order: Sequence[str], config: TrainConfig) -> None:
        """``class_order`` says which of the head's rows means real and which fake."""
        self.items, self.config, self.spec = items, config, config.spec
        self.columns = np.array([class_order.index(item.label) for item in items])
        if config.shuffle_labels:
            self.columns = shuffled(self.columns, config.seed)
        self._held = [read_pixels(item.path) for item in items] if config.in_memory else None

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, draw: Draw) -> tuple[Pixels, int, int]:
        """Augmented at its own size, then resized as everywhere."""
        epoch, position = draw
        crop = self._held[position] if self._held else read_pixels(self.items[position].path)
        rng = np.random.default_rng([self.config.seed, epoch, position])
        crop = fit_input(augment(crop, self.config.augmentation, rng), self.spec)
        return crop, int(self.columns[position]), position

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


def stream_seed(*words: int) -> int:
    """A seed for torch: equal words give the same, others give streams that have nothing in common."""
    return int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0])


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


class BatchSampler(Sampler[list[Draw]]):
    """One device's part of each batch; those of all devices are together the batch that one would see."""

    def __init__(self, sampler: EpochSampler, config: TrainConfig, stripe: Stripe = WHOLE, step: int = 0) -> None:
        """``step``: so many optimiser steps of the run are done; it goes on in the middle of an epoch."""
        self.sampler, self.batch_size, self.stripe = sampler, config.batch_size, stripe
        self.steps_per_epoch = len(sampler) // (config.batch_size * config.accumulate_batches)
        self.batches_per_step = config.accumulate_batches
        self.first_epoch, steps_done = divmod(step, self.steps_per_epoch)
        self.first_batch = steps_done * config.accumulate_batches
        sampler.set_epoch(self.first_epoch)

    def __len__(self) -> int:
        """Batches of a whole epoch: what does not fill an optimiser step is left out."""
        return self.steps_per_epoch * self.batches_per_step

    def __iter__(self) -> Iterator[list[Draw]]:
        draws, size = list(self.sampler), self.batch_size // self.stripe.devices
        first = self.first_batch if self.sampler.epoch == self.first_epoch else 0
        for batch in range(first, len(self)):
            start = batch * self.batch_size + self.stripe.rank * size
            yield draws[start : start + size]


def groups_of(items: Sequence[Item], *, pairs_together: bool) -> list[list[int]]:
    """Positions that stay side by side: those of a pair, or each by itself; items without a pair are alone anyway.

    Where a pair is two clips or more, the crops of one frame, by their file's name, are together:
    frame i of a fake shows what frame i of its original shows.
    """
    if not pairs_together:
        return [[position] for position in range(len(items))]
    pairs: dict[str, list[int]] = {}
    for position, item in enumerate(items):
        pairs.setdefault(item.pair or f"\0{position}", []).append(position)
    groups: list[list[int]] = []
    for positions in pairs.values():
        frames: dict[str, list[int]] = {}
        for position in positions:
            frames.setdefault(items[position].path.stem, []).append(position)
        by_frame = max(map(len, frames.values())) > 1
        groups += frames.values() if by_frame else [positions]
    return groups


def training_batches(
    dataset: CropDataset, stripe: Stripe = WHOLE, step: int = 0
) -> DataLoader[tuple[Pixels, int, int]]:
    """One device's part of the batches of one epoch after another; ``step`` as ``BatchSampler`` has it."""
    config = dataset.config
    if config.num_workers:
        cv2.setNumThreads(1)  # here, before processes fork: done in a worker it can hang on the parent's threads
    sampler = EpochSampler(groups_of(dataset.items, pairs_together=config.pairs_together), config.seed)
    return DataLoader(
        dataset,
        batch_sampler=BatchSampler(sampler, config, stripe, step),
        num_workers=config.num_workers,
        persistent_workers=config.num_workers > 0,
        pin_memory=torch.cuda.is_available(),
        collate_fn=dataset.collate,
    )
