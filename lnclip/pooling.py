"""Labelled scores, by data set and by video: a video's score is the mean of its items'.

NumPy alone: the scores may be a network's in torch or a server's. Legend: N items, V videos.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lnclip.errors import ConfigError
from lnclip.index import Item
from lnclip.metrics import Floats


class Scored(NamedTuple):
    """N items and what the network says of them."""

    items: list[Item]
    p_fake: Floats
    """(N,)"""

    @property
    def is_fake(self) -> NDArray[np.int64]:
        """(N,) 1 for fake."""
        return is_fake(self.items)


class VideoScores(NamedTuple):
    """V videos in the order of their first items."""

    items: list[Item]
    """The first item of each."""

    is_fake: NDArray[np.int64]
    """(V,) 1 for fake."""

    p_fake: Floats
    """(V,) mean over the video's items."""


def is_fake(items: Sequence[Item]) -> NDArray[np.int64]:
    """(N,) 1 for fake."""
    return np.array([item.label == "fake" for item in items], np.int64)


def by_dataset(items: Sequence[Item], p_fake: Floats) -> dict[str, Scored]:
    """Each data set's items, in the order the data sets come; "unnamed" has those that name none."""
    places: dict[str, list[int]] = {}
    for place, item in enumerate(items):
        places.setdefault(item.dataset or "unnamed", []).append(place)
    return {name: Scored([items[place] for place in chosen], p_fake[chosen]) for name, chosen in places.items()}


def pool_videos(items: Sequence[Item], p_fake: Floats) -> VideoScores:
    """The mean of each video's items; an item whose video is not named is one of its own.

    Args:
        items: those with the same dataset, source and video are one.
        p_fake: (N,).

    Raises:
        ConfigError: a video has items of both labels.

    Source: the video score of arXiv 2508.06248's code.
    """
    numbers, first = clip_numbers(items)
    firsts = [items[position] for position in first]
    for item, number in zip(items, numbers.tolist(), strict=True):
        if item.label != firsts[number].label:
            raise ConfigError(
                f"video {item.video!r} of source {item.source!r}, data set {item.dataset!r} has files of both labels, "
                f"for example {firsts[number].path} and {item.path}; give each label a video or source of its own"
            )
    return VideoScores(firsts, is_fake(firsts), np.bincount(numbers, p_fake, len(firsts)) / np.bincount(numbers))


def clip_numbers(items: Sequence[Item]) -> tuple[NDArray[np.int64], list[int]]:
    """Which video each item is of, (N,), counted from 0 as they come, and each video's first item."""
    number_of: dict[tuple[str, ...] | int, int] = {}
    numbers, first = np.zeros(len(items), np.int64), list[int]()
    for position, item in enumerate(items):
        key = (item.dataset, item.source, item.video) if item.video else position
        numbers[position] = number_of.setdefault(key, len(number_of))
        if len(number_of) > len(first):
            first.append(position)
    return numbers, first
