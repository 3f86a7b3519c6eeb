"""Which frames of a video are looked at, and in which order."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

Sampling = Literal["uniform", "stride", "spread"]


@dataclass(frozen=True, kw_only=True)
class FrameChoice:
    """How many frames of a video become crops, and which."""

    sampling: Sampling = "spread"
    """uniform: ``count`` frames, evenly; those without a face are lost. stride: every ``stride``-th
    until ``count`` faces are cut. spread: farthest from those taken first, until ``count`` faces are cut."""

    count: int = 32
    stride: int = 10


DEFAULT_CHOICE = FrameChoice()
"""As many frames as the papers take."""


def ranked_frames(choice: FrameChoice, num_frames: int) -> Iterator[int]:
    """Indices of the frames of a video in the order in which their faces are wanted, each once.

    Source: GenD's modes fixed_num_frames, fixed_stride and at_least.
    """
    if choice.sampling == "stride":
        return iter(range(0, num_frames, choice.stride))
    if choice.sampling == "spread":
        return _spread(num_frames)
    evenly = np.linspace(0, num_frames - 1, choice.count if num_frames else 0).astype(int)
    return iter(dict.fromkeys(evenly.tolist()))


def _spread(num_frames: int) -> Iterator[int]:
    """The middle, then always the index farthest from all taken, the smaller of two that are as far."""
    middle = num_frames // 2
    if num_frames:
        yield middle
    # A gap's entry: minus the distance of its farthest index, that index, and the taken ones around it.
    gaps = [(-middle, 0, 0, middle), (middle + 1 - num_frames, num_frames - 1, middle, num_frames - 1)]
    gaps = [gap for gap in gaps if gap[0] < 0]
    heapq.heapify(gaps)
    while gaps:
        _, index, left, right = heapq.heappop(gaps)
        yield index
        for low, high in ((left, index), (index, right)):
            if high - low >= 2:
                heapq.heappush(gaps, (-((high - low) // 2), (low + high) // 2, low, high))
