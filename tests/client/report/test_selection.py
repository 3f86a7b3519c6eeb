from __future__ import annotations

from client.report.selection import Highest


def kept(ranks: list[float], sizes: list[int] | None = None, *, max_items: int = 100, max_bytes: int = 1000) -> list:
    highest = Highest[str](max_items, max_bytes)
    for number, (rank, size) in enumerate(zip(ranks, sizes or [1] * len(ranks), strict=True)):
        if highest.wants(rank, number):
            highest.add(rank, number, f"item {number}", size)
    assert all(item == f"item {number}" for number, item in highest.in_order())
    return [number for number, _ in highest.in_order()]


def test_keeps_the_highest_in_the_order_they_came() -> None:
    assert kept([0.1, 0.9, -1.0, 0.5, 0.7], max_items=3) == [1, 3, 4]


def test_of_equals_keeps_the_earlier() -> None:
    assert kept([0.5, -1.0, 0.5, 0.5, -1.0], max_items=2) == [0, 2]


def test_large_items_push_out_lower_ones_for_good() -> None:
    # 0.2 goes when 0.9 comes (60 + 50 > 100); 0.1 would fit into what is left, but it is lower than what went.
    assert kept([0.2, 0.9, 0.1, 0.3], [60, 50, 10, 40], max_bytes=100) == [1, 3]


def test_everything_is_kept_while_it_fits() -> None:
    assert kept([0.1, -1.0, 0.3]) == [0, 1, 2]
