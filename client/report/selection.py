"""Which items of a long stream are kept when not all can be: those of highest rank."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Highest(Generic[T]):
    """The items of highest rank, as many as fit; of equals the earlier ones."""

    def __init__(self, max_items: int, max_bytes: int) -> None:
        self._max_items = max_items
        self._max_bytes = max_bytes
        self._heap: list[tuple[float, int, T, int]] = []
        self._size_bytes = 0
        self._floor = (-math.inf, 0)
        """Rank and minus the number of the best item that had to go: nothing below it comes in again."""

    def wants(self, rank: float, number: int) -> bool:
        """Whether an item would come in; numbers count the stream's items."""
        key = (rank, -number)
        is_full = len(self._heap) >= self._max_items
        return key > self._floor and (not is_full or key > self._heap[0][:2])

    def add(self, rank: float, number: int, item: T, size_bytes: int = 0) -> None:
        """Take an item that is wanted, and let go of the lowest until all fit."""
        heapq.heappush(self._heap, (rank, -number, item, size_bytes))
        self._size_bytes += size_bytes
        while len(self._heap) > self._max_items or self._size_bytes > self._max_bytes:
            lowest, minus_number, _, size = heapq.heappop(self._heap)
            self._size_bytes -= size
            self._floor = (lowest, minus_number)

    def __len__(self) -> int:
        return len(self._heap)

    def in_order(self) -> Iterator[tuple[int, T]]:
        """Number and item, as they came."""
        for _, minus_number, item, _ in sorted(self._heap, key=lambda entry: -entry[1]):
            yield -minus_number, item
