"""Whether one setting is better than another: pairs of measurements taken in turn, and what they show."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Literal, NamedTuple

from benchmarks.tuning.settings import Settings

STUDENT_95 = (6.314, 2.920, 2.353, 2.132, 2.015, 1.943, 1.895, 1.860, 1.833)
"""One-sided 95 % quantiles of Student's distribution for 1 to 9 degrees of freedom.
Source: any table, for one NIST/SEMATECH e-Handbook of Statistical Methods, 1.3.6.7.2."""

MIN_ROUNDS, MAX_ROUNDS = 2, len(STUDENT_95) + 1
MIN_GAIN = 0.02
"""A smaller gain is not worth a setting that differs from the shipped one."""

HOPELESS_AFTER = 2
"""Rounds; a candidate that has not won in the median of so many is given up."""


class Sample(NamedTuple):
    """One measurement of one setting."""

    images_per_s: float
    """Answered requests; in crops mode each is one crop."""

    p99_ms: float
    faces_per_s: float
    encoder_batch: float
    """Mean, as executed."""

    failed: int
    is_stable: bool


class Pair(NamedTuple):
    """Both in one round."""

    incumbent: Sample
    candidate: Sample


class Judgement(NamedTuple):
    """What the rounds so far say."""

    is_better: bool
    is_hopeless: bool
    """More rounds are a waste of time."""

    reason: str


class Trial(NamedTuple):
    """One candidate, tried."""

    incumbent: Settings
    candidate: Settings
    pairs: list[Pair]
    accepted: bool
    reason: str
    """Why, or why not; of a candidate that does not start, what the server said."""


def gains(pairs: Sequence[Pair], limit_ms: float) -> list[float]:
    """Each round's ratio, above 1 where the candidate is better, of what ``compared`` says."""
    if compared(pairs, limit_ms) == "images/s":
        return [pair.candidate.images_per_s / pair.incumbent.images_per_s for pair in pairs]
    return [pair.incumbent.p99_ms / pair.candidate.p99_ms for pair in pairs]


def compared(pairs: Sequence[Pair], limit_ms: float) -> Literal["images/s", "p99 latency"]:
    """Throughputs while the incumbent keeps the latency limit, latencies while it does not."""
    return "images/s" if keeps(limit_ms, [pair.incumbent for pair in pairs]) else "p99 latency"


def keeps(limit_ms: float, samples: Sequence[Sample]) -> bool:
    """Whether the median of the p99 latencies is within the limit."""
    return statistics.median(sample.p99_ms for sample in samples) <= limit_ms


def lower_bound(ratios: Sequence[float]) -> float:
    """What the true ratio exceeds with 95 % confidence: Student's bound on the mean logarithm; 0 for one ratio."""
    if len(ratios) < MIN_ROUNDS:
        return 0.0
    logs = [math.log(ratio) for ratio in ratios]
    error = statistics.stdev(logs) / math.sqrt(len(logs))
    return math.exp(statistics.mean(logs) - STUDENT_95[len(logs) - 2] * error)


def judge(pairs: Sequence[Pair], limit_ms: float, min_gain: float = MIN_GAIN) -> Judgement:
    """Better means: within the latency limit, beyond the noise, and by enough to be worth it.

    Args:
        pairs: the rounds so far, at least one.
        limit_ms: of the p99 latency.
        min_gain: the median ratio must exceed 1 by that.
    """
    candidates = [pair.candidate for pair in pairs]
    if failed := sum(sample.failed for sample in candidates):
        return Judgement(False, True, f"{failed} requests failed")
    ratios = gains(pairs, limit_ms)
    median, low = statistics.median(ratios), lower_bound(ratios)
    is_late = len(pairs) >= HOPELESS_AFTER
    if not keeps(limit_ms, candidates) and keeps(limit_ms, [pair.incumbent for pair in pairs]):
        p99_ms = statistics.median(sample.p99_ms for sample in candidates)
        return Judgement(False, is_late, f"p99 {p99_ms:.0f} ms is above the limit")
    if median <= 1:
        return Judgement(False, is_late, "not better")
    if median < 1 + min_gain:
        return Judgement(False, False, f"better by less than {min_gain:.1%}")
    if low <= 1:
        return Judgement(False, False, "within the noise")
    return Judgement(True, False, "better")
