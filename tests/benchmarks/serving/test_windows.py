"""perf_analyzer's rule of stability, in numbers written by hand."""

from __future__ import annotations

import pytest

from benchmarks.serving.measured import Exchange, Load, Window
from benchmarks.serving.windows import is_stable, least_requests, sum_up


def windows(*pairs: tuple[int, float]) -> list[Window]:
    return [Window(2.0, completed, latency_us) for completed, latency_us in pairs]


def test_three_windows_within_ten_percent_are_stable() -> None:
    assert is_stable(windows((100, 1000.0), (110, 1100.0), (105, 1050.0)), 0.10)


@pytest.mark.parametrize(
    "pairs",
    [
        [(100, 1000.0), (111, 1000.0), (100, 1000.0)],
        [(100, 1000.0), (100, 1000.0), (100, 1101.0)],
        [(100, 1000.0), (100, 1000.0)],
        [(0, 0.0), (0, 0.0), (0, 0.0)],
    ],
    ids=["throughput", "latency", "only two", "no answers"],
)
def test_anything_else_is_not(pairs: list[tuple[int, float]]) -> None:
    assert not is_stable(windows(*pairs), 0.10)


def test_only_the_last_three_count() -> None:
    assert is_stable(windows((10, 9000.0), (100, 1000.0), (100, 1000.0), (100, 1000.0)), 0.10)


def test_an_open_loop_is_judged_by_the_share_that_was_answered() -> None:
    drawn = windows((50, 1000.0), (80, 1000.0), (60, 1000.0))
    assert not is_stable(drawn, 0.10)
    assert is_stable(drawn, 0.10, arrived=[7, 52, 81, 60][1:])
    assert not is_stable(drawn, 0.10, arrived=[50, 120, 60])


def test_windows_of_unequal_length_are_compared_by_the_second() -> None:
    assert is_stable([Window(1.0, 10, 5.0), Window(2.0, 20, 5.0), Window(4.0, 41, 5.0)], 0.10)


def test_a_window_holds_three_requests_for_each_in_flight() -> None:
    assert least_requests(Load("concurrency", 8)) == 24
    assert least_requests(Load("request_rate", 200.0)) == 50


def test_latency_counts_from_the_intended_start_and_failures_have_none() -> None:
    exchanges = [
        Exchange(intended_s=1.0, sent_s=1.5, answered_s=1.6, marshal_s=0.0, num_faces=1, error=""),
        Exchange(intended_s=2.0, sent_s=2.0, answered_s=2.2, marshal_s=0.0, num_faces=0, error=""),
        Exchange(intended_s=2.0, sent_s=2.0, answered_s=9.0, marshal_s=0.0, num_faces=-1, error="unavailable"),
    ]
    mean = sum_up(exchanges, 4.0, None)
    assert (mean.duration_s, mean.completed) == (4.0, 2)
    assert mean.latency_us == pytest.approx(400_000)
    assert sum_up(exchanges, 4.0, 99).latency_us == pytest.approx(600_000)
    assert sum_up(exchanges[2:], 4.0, 99) == Window(4.0, 0, 0.0)
