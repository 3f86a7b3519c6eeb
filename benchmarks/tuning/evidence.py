"""What a search shows: tables, the record and the plot."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.records import table
from benchmarks.tuning.comparing import Sample, Trial, compared, gains, lower_bound
from benchmarks.tuning.settings import KNOBS, Settings, change, describe

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Plot

SIDES = ("incumbent", "candidate")
LONGEST_REASON = 90
"""Characters of a cell; the record has all of them."""


class Found(NamedTuple):
    """A whole search."""

    loads: list[tuple[Settings, Sample]]
    """The settings of before under rising load."""

    trials: list[Trial]
    final: Trial
    """The settings that won against those of before, both started anew; without rounds when nothing won."""

    limit_ms: float

    @property
    def tuned(self) -> Settings:
        """What to serve with."""
        return self.final.candidate if self.final.accepted else self.final.incumbent

    @property
    def ratio(self) -> float:
        """Tuned against before, median of the last comparison; 1 when nothing won."""
        return statistics.median(gains(self.final.pairs, self.limit_ms)) if self.final.accepted else 1.0

    @property
    def gain(self) -> str:
        """The ratio in words, with what it is of."""
        if not self.final.accepted:
            return "nothing better was found"
        if compared(self.final.pairs, self.limit_ms) == "images/s":
            return f"{self.ratio:.2f}x images/s"
        return f"p99 latency divided by {self.ratio:.2f}"

    @property
    def changes_server(self) -> bool:
        """Whether a setting of the server won, and not the load alone."""
        return self.tuned._replace(concurrency=self.final.incumbent.concurrency) != self.final.incumbent


def tables(found: Found, note: str) -> str:
    """The settings, and how they were found."""
    before, tuned = found.final.incumbent, found.tuned
    settings = table(
        ("setting", "before", "tuned"),
        [(knob.what, *(describe(getattr(each, knob.field)) for each in (before, tuned))) for knob in KNOBS],
    )
    loads = table(
        ("in flight, before", "images/s", "p99 ms", "encoder batch", ""),
        [(load.concurrency, *_cells(each)) for load, each in found.loads],
    )
    columns = ("tried", "images/s", "p99 ms", "ratio", "min..max", "95 % above", "outcome")
    trials = table(columns, [trial_cells(trial, found.limit_ms) for trial in found.trials])
    return "\n\n".join(filter(None, (settings, note, loads, trials)))


def trial_cells(trial: Trial, limit_ms: float) -> tuple[str, ...]:
    """One candidate, as a row."""
    outcome = "accepted" if trial.accepted else trial.reason
    outcome = outcome if len(outcome) <= LONGEST_REASON else f"{outcome[: LONGEST_REASON - 3]}..."
    tried = "the same twice" if trial.candidate == trial.incumbent else change(trial.incumbent, trial.candidate)
    if not trial.pairs:
        return tried, "-", "-", "-", "-", "-", outcome.replace("|", "/")
    ratios = gains(trial.pairs, limit_ms)
    of = "" if compared(trial.pairs, limit_ms) == "images/s" else " of p99"
    speeds, latencies = (
        [statistics.median(getattr(getattr(pair, side), name) for pair in trial.pairs) for side in SIDES]
        for name in ("images_per_s", "p99_ms")
    )
    return (
        tried,
        f"{speeds[0]:.2f} -> {speeds[1]:.2f}",
        f"{latencies[0]:.0f} -> {latencies[1]:.0f}",
        f"{statistics.median(ratios):.3f}{of}",
        f"{min(ratios):.2f}..{max(ratios):.2f}",
        f"{lower_bound(ratios):.3f}" if len(ratios) > 1 else "-",
        outcome.replace("|", "/"),
    )


def rows(found: Found) -> dict[str, object]:
    """What the record keeps: every sample of every round."""
    return {
        "before": found.final.incumbent._asdict(),
        "tuned": found.tuned._asdict(),
        "ratio": found.ratio,
        "gain": found.gain,
        "loads": [{**settings._asdict(), **each._asdict()} for settings, each in found.loads],
        "trials": [_trial(trial, found.limit_ms) for trial in found.trials],
    }


def _trial(trial: Trial, limit_ms: float) -> dict[str, object]:
    return {
        "change": change(trial.incumbent, trial.candidate),
        "incumbent": trial.incumbent._asdict(),
        "candidate": trial.candidate._asdict(),
        "accepted": trial.accepted,
        "reason": trial.reason,
        "ratios": gains(trial.pairs, limit_ms) if trial.pairs else [],
        "samples": [{side: getattr(pair, side)._asdict() for side in SIDES} for pair in trial.pairs],
    }


def _cells(found: Sample) -> tuple[str, ...]:
    told = "" if found.is_stable else "unstable"
    told = f"{told} {found.failed} failed".strip() if found.failed else told
    return f"{found.images_per_s:.2f}", f"{found.p99_ms:.0f}", f"{found.encoder_batch:.1f}", told


def plot(found: Found, caption: str) -> Plot:
    """Ratios of what was tried, and throughput against latency of everything that was measured."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    tried = [trial for trial in found.trials if trial.pairs]
    figure: Plot
    figure, (ratios, speeds) = plt.subplots(1, 2, figsize=(12, 1.8 + 0.28 * max(6, len(tried))), layout="constrained")
    _plot_ratios(ratios, tried, found.limit_ms)
    for trial in tried:
        for side, colour in zip(SIDES, ("tab:blue", "tab:green" if trial.accepted else "tab:gray"), strict=True):
            samples = [getattr(pair, side) for pair in trial.pairs]
            speeds.scatter([s.p99_ms for s in samples], [s.images_per_s for s in samples], s=12, color=colour)
    loads = [each for _, each in found.loads]
    speeds.plot(
        [s.p99_ms for s in loads],
        [s.images_per_s for s in loads],
        "o-",
        color="tab:orange",
        label="before, rising load",
    )
    for settings, each in found.loads:
        speeds.annotate(str(settings.concurrency), (each.p99_ms, each.images_per_s), fontsize=7)
    speeds.axvline(found.limit_ms, color="tab:red", linestyle="--", label="latency limit")
    speeds.set(xlabel="p99 latency, ms", ylabel="images/s", xscale="log")
    speeds.legend(fontsize=8)
    figure.suptitle(caption, fontsize=10)
    return figure


def _plot_ratios(axes: Axes, tried: Sequence[Trial], limit_ms: float) -> None:
    for row, trial in enumerate(tried):
        found = gains(trial.pairs, limit_ms)
        colour = "tab:green" if trial.accepted else "tab:gray"
        axes.plot([min(found), max(found)], [row, row], color=colour)
        axes.plot(statistics.median(found), row, "o", color=colour)
    names = [
        "the same twice" if trial.candidate == trial.incumbent else change(trial.incumbent, trial.candidate)
        for trial in tried
    ]
    axes.set_yticks(range(len(tried)), names, fontsize=7)
    axes.invert_yaxis()
    axes.axvline(1.0, color="black", linewidth=0.8)
    axes.set_xlabel("candidate / incumbent: median, min..max (green: accepted)")
