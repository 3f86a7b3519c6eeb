"""Coordinate descent over settings: one knob at a time, every candidate against the incumbent in turn.

Nothing here knows of servers: what measures is given.
"""

from __future__ import annotations

import logging
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from benchmarks.tuning.comparing import MIN_GAIN, MIN_ROUNDS, Pair, Sample, Trial, gains, judge
from benchmarks.tuning.settings import Bounds, Direction, Knob, Settings, change, ladder, step
from lnclip.errors import LnclipError

log = logging.getLogger(__name__)

DIRECTIONS: tuple[Direction, ...] = (1, -1)
SATURATED = 1.03
"""Twice the requests in flight that bring less than this are not worth their latency."""


class UnmeasurableError(LnclipError):
    """A setting whose server does not start, or answers otherwise."""

    def __init__(self, settings: Settings, reason: str) -> None:
        """``reason`` goes into the table."""
        super().__init__(reason)
        self.settings = settings


Measure = Callable[[Settings], Sample]
"""Measures one setting; raises UnmeasurableError when it cannot be served."""


@dataclass(kw_only=True)
class Search:
    """The search, and what it has tried so far."""

    measure: Measure
    bounds: Bounds
    rounds: int
    """For each candidate that is not hopeless."""

    deadline_s: float
    """Of time.monotonic: no round of the search starts later."""

    min_gain: float = MIN_GAIN
    trials: list[Trial] = field(default_factory=list)
    when_decided: Callable[[Settings], None] = lambda _: None
    """Told the incumbent after every decision: other servers may go."""

    def best_load(self, settings: Settings) -> list[tuple[Settings, Sample]]:
        """Raise the requests in flight until they bring nothing more, or too much latency.

        Returns:
            Every load that was measured, ascending; the last one as a rule is one too many.
        """
        measured: list[tuple[Settings, Sample]] = []
        for concurrency in ladder("concurrency", self.bounds):
            loaded = settings._replace(concurrency=concurrency or 1)
            measured.append((loaded, self.measure(loaded)))
            sample = measured[-1][1]
            before = measured[-2][1].images_per_s if len(measured) > 1 else 0.0
            if sample.p99_ms > self.bounds.latency_limit_ms or sample.images_per_s < before * SATURATED:
                break
            if time.monotonic() > self.deadline_s:
                break
        return measured

    def noise(self, settings: Settings) -> Trial:
        """A setting against itself: from now on a gain must exceed what this one shows."""
        pairs: list[Pair] = []
        while len(pairs) < MIN_ROUNDS or (len(pairs) < self.rounds and time.monotonic() < self.deadline_s):
            pairs.append(self._pair(settings, settings, len(pairs)))
        apparent = abs(statistics.median(gains(pairs, self.bounds.latency_limit_ms)) - 1)
        self.min_gain = max(self.min_gain, apparent)
        trial = Trial(settings, settings, pairs, False, f"shows {apparent:.1%} where there is nothing")
        self.trials.append(trial)
        return trial

    def descend(self, start: Settings, knobs: Sequence[Knob]) -> Settings:
        """Turn every knob, again and again, until none helps or the time is up; the settings that won."""
        incumbent, seen, improved = start, {start}, True
        while improved and time.monotonic() < self.deadline_s:
            improved = False
            for knob in knobs:
                before = incumbent
                for direction in DIRECTIONS:
                    incumbent = self._follow(incumbent, knob, direction, seen)
                    if incumbent != before:
                        improved = True
                        break
        return incumbent

    def compare(self, candidate: Settings, incumbent: Settings, *, in_time: bool = True) -> Trial:
        """Measure both in turn until it is decided.

        Args:
            candidate: whose failure to start is an answer.
            incumbent: whose failure is an error.
            in_time: whether the deadline counts.

        Raises:
            UnmeasurableError: the incumbent cannot be measured.
        """
        pairs: list[Pair] = []
        accepted, reason = False, "no time left"
        while len(pairs) < self.rounds and not (in_time and time.monotonic() > self.deadline_s):
            try:
                pairs.append(self._pair(candidate, incumbent, len(pairs)))
            except UnmeasurableError as error:
                if error.settings == incumbent:
                    raise
                accepted, reason = False, str(error)
                break
            found = judge(pairs, self.bounds.latency_limit_ms, self.min_gain)
            is_last = len(pairs) == self.rounds
            accepted, reason = found.is_better and is_last, found.reason
            if found.is_hopeless:
                break
            if not is_last and in_time and time.monotonic() > self.deadline_s:
                reason = "no time left"
        trial = Trial(incumbent, candidate, pairs, accepted, reason)
        log.info("%s: %s", change(incumbent, candidate), reason)
        self.trials.append(trial)
        return trial

    def _follow(self, incumbent: Settings, knob: Knob, direction: Direction, seen: set[Settings]) -> Settings:
        """Go on in one direction as long as it helps."""
        while time.monotonic() < self.deadline_s:
            candidate = step(incumbent, knob.field, direction, self.bounds)
            if candidate is None or candidate in seen:
                break
            seen.add(candidate)
            accepted = self.compare(candidate, incumbent).accepted
            incumbent = candidate if accepted else incumbent
            self.when_decided(incumbent)
            if not accepted:
                break
        return incumbent

    def _pair(self, candidate: Settings, incumbent: Settings, number: int) -> Pair:
        """One round; who goes first changes from round to round."""
        if number % 2:
            measured = self.measure(candidate)
            return Pair(self.measure(incumbent), measured)
        return Pair(self.measure(incumbent), self.measure(candidate))
