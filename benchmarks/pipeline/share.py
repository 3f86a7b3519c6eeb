"""One figure of ``shares`` or ``added``: its aim, its rounds, and what it was made of."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from typing import NamedTuple

from benchmarks.records import Figure


class Aim(NamedTuple):
    """What is to be reached: at least a part of one, or at most so many milliseconds."""

    name: str
    target: float
    unit: str = ""
    """Empty, or ms."""

    def shown(self, value: float) -> str:
        """A value in words."""
        return f"{value:.2f} {self.unit}" if self.unit else f"{value:.1%}"


class Share(NamedTuple):
    """What was reached."""

    aim: Aim
    samples: list[float]
    """One for each round."""

    unstable: int
    """Rounds in which the server's windows did not agree; 0 where it has none."""

    details: Mapping[str, object]
    """What it was made of, as JSON holds it."""

    @property
    def value(self) -> float:
        """Median over the rounds."""
        return statistics.median(self.samples)

    @property
    def met(self) -> bool:
        """Whether the aim is reached."""
        return self.value <= self.aim.target if self.aim.unit else self.value >= self.aim.target

    def figure(self) -> Figure:
        """In words."""
        aim = self.aim
        target = f"at most {aim.target:g} {aim.unit}" if aim.unit else f"at least {aim.target:.0%}"
        return Figure(aim.name, aim.shown(self.value), target, self.met)

    def recorded(self) -> dict[str, object]:
        """As a record keeps it."""
        made = {"samples": self.samples, "unstable": self.unstable, "details": self.details}
        return {**self.aim._asdict(), "value": self.value, "met": self.met, **made}
