"""What the stages of one image cost: wall and CPU time, and how it adds up."""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, NamedTuple

Stage = Literal["decode", "detect", "align", "encode", "encode_batched", "verdict"]

ONE_REQUEST: tuple[Stage, ...] = ("decode", "detect", "align", "encode", "verdict")
"""With one request in flight the encoder gets one image's faces at a time."""

SATURATED: tuple[Stage, ...] = ("decode", "detect", "align", "encode_batched", "verdict")
"""With many in flight it gets the faces of several images as one batch."""


class Cost(NamedTuple):
    """Of one image, mean over the images of a pass."""

    wall_ms: float
    cpu_ms: float


class Spread(NamedTuple):
    """Over the rounds."""

    median: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class StageTime:
    """One stage, measured in every round."""

    stage: Stage
    batch: float
    """Crops in one call of the encoder (a mean); 1 image for the others."""

    samples: list[Cost]
    """Raw, one for each round."""

    @property
    def wall_ms(self) -> Spread:
        """Of one image."""
        return _spread([cost.wall_ms for cost in self.samples])

    @property
    def cpu_ms(self) -> Spread:
        """Of one image, all threads together."""
        return _spread([cost.cpu_ms for cost in self.samples])


def total(costs: Mapping[Stage, Cost], stages: Sequence[Stage]) -> Cost:
    """Of one image through these stages."""
    return Cost(sum(costs[stage].wall_ms for stage in stages), sum(costs[stage].cpu_ms for stage in stages))


def mean_costs(passes: Sequence[Mapping[Stage, Cost]]) -> dict[Stage, Cost]:
    """Of one image, over several passes."""
    return {
        stage: Cost(
            statistics.fmean(costs[stage].wall_ms for costs in passes),
            statistics.fmean(costs[stage].cpu_ms for costs in passes),
        )
        for stage in passes[0]
    }


class Clock:
    """Wall and CPU seconds of every stage since it was made."""

    def __init__(self) -> None:
        self.wall_s: defaultdict[Stage, float] = defaultdict(float)
        self.cpu_s: defaultdict[Stage, float] = defaultdict(float)

    @contextmanager
    def runs(self, stage: Stage) -> Iterator[None]:
        """Count what happens inside towards ``stage``."""
        cpu_s, started_s = time.process_time(), time.perf_counter()
        yield
        self.wall_s[stage] += time.perf_counter() - started_s
        self.cpu_s[stage] += time.process_time() - cpu_s

    def cost(self, stage: Stage, images: float) -> Cost:
        """Of one of ``images``."""
        return Cost(self.wall_s[stage] / images * 1000, self.cpu_s[stage] / images * 1000)


def _spread(values: Sequence[float]) -> Spread:
    return Spread(statistics.median(values), min(values), max(values))
