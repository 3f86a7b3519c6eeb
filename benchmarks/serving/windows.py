"""When a measurement is long enough: windows one after the other, until the last three agree.

Source: perf_analyzer, docs/measurements_metrics.md and src/inference_profiler.cc (DetermineStability). Two things
differ. A window that holds few requests goes on: three from a model that answers one a second agree by luck. And in
an open loop it is the share of the arrived requests that were answered that must agree, not their number a second:
that one varies because it is drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.serving.derived import mean_us, percentile
from benchmarks.serving.measured import Exchange, Load, Window

AGREEING = 3
"""Windows that must agree, and that are merged into the result."""

PER_PLACE = 3
"""Requests that a closed loop's window holds at least, for each that is outstanding."""

LEAST_OPEN = 50
"""Requests that an open loop's window holds at least."""

MOST_INTERVALS = 60
"""A window ends after so many intervals whatever it holds: a server that hangs must not hang this."""


@dataclass(frozen=True, kw_only=True)
class Windowing:
    """How long and how well to measure; the defaults are perf_analyzer's, the warm-up aside."""

    interval_s: float = 5.0
    """Of a window, and by which it grows while it holds too few requests."""

    stability: float = 0.10
    """By how much the largest of three windows may exceed the smallest, in throughput and in latency."""

    max_trials: int = 10
    """Windows after which it stays unstable."""

    percentile: int | None = None
    """Of the latency that must agree; None: its mean."""

    warmup_requests: int = 16
    """Answered before the first window."""


def least_requests(load: Load) -> int:
    """How many a window holds at least."""
    return PER_PLACE * int(load.value) if load.kind == "concurrency" else LEAST_OPEN


def latencies_us(exchanges: Sequence[Exchange]) -> list[float]:
    """Of the answered ones, from their intended start."""
    return [(each.answered_s - each.intended_s) * 1e6 for each in exchanges if not each.error]


def sum_up(exchanges: Sequence[Exchange], duration_s: float, percent: int | None) -> Window:
    """A window of what ended in it; the latency is 0 where nothing was answered."""
    latencies = np.array(latencies_us(exchanges))
    if percent is None or not len(latencies):
        return Window(duration_s, len(latencies), mean_us(latencies))
    return Window(duration_s, len(latencies), percentile(latencies, percent))


def is_stable(windows: Sequence[Window], stability: float, arrived: Sequence[int] | None = None) -> bool:
    """Whether the last three agree in throughput and in latency.

    Args:
        windows: all so far.
        stability: see ``Windowing``.
        arrived: requests that arrived in each window of an open loop; None for a closed one.
    """
    last = windows[-AGREEING:]
    if len(last) < AGREEING or not all(window.completed for window in last):
        return False
    if arrived is None:
        rates = [window.completed / window.duration_s for window in last]
    else:
        rates = [window.completed / max(1, count) for window, count in zip(last, arrived[-AGREEING:], strict=True)]
    latencies = [window.latency_us for window in last]
    return all(max(values) <= (1 + stability) * min(values) for values in (rates, latencies))
