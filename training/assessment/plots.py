"""Pictures of an evaluation: ROC curves, score distributions, robustness. matplotlib is imported when one is made."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from lnclip.evaluation import PARAMETERS, RobustnessRow
from lnclip.index import Item
from lnclip.measurement import Measurement
from lnclip.metrics import Floats, Ranking
from lnclip.pooling import by_dataset, pool_videos

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 120


def plot_roc(path: Path, items: Sequence[Item], p_fake: Floats, metrics: Measurement) -> None:
    """ROC curves of videos (left) and frames (right), one line per measurable data set."""
    figure = _figure(11, 5.2)
    levels: tuple[Literal["video", "frame"], ...] = ("video", "frame")
    for axes, level in zip(figure.subplots(1, 2), levels, strict=True):
        for (name, scored), style in zip(by_dataset(items, p_fake).items(), _styles(), strict=False):
            found = metrics["datasets"][name]
            if found["not_measurable"]:
                continue
            points = pool_videos(*scored) if level == "video" else scored
            label = f"{name}: {100 * found[level]['auroc']['value']:.1f}"
            axes.plot(*Ranking(points.is_fake, points.p_fake).curve().rates, label=label, **style)
        axes.plot([0, 1], [0, 1], color="0.8", linewidth=1, zorder=0)
        axes.set(title=f"{level}s", xlabel="false-positive rate", ylabel="true-positive rate", aspect="equal")
        axes.legend(title="AUROC, %", fontsize=8, loc="lower right")
    _save(figure, path)


def plot_distributions(path: Path, items: Sequence[Item], p_fake: Floats, threshold: float) -> None:
    """Share of the real (left) and of the fake frames (right) at or above each score, one line per data set.

    Where a line meets the threshold it says the false- and the true-positive rate. Histograms of
    many data sets would hide each other.
    """
    figure = _figure(11, 4.8)
    for axes, label in zip(figure.subplots(1, 2), ("real", "fake"), strict=True):
        for (name, scored), style in zip(by_dataset(items, p_fake).items(), _styles(), strict=False):
            scores = np.sort(scored.p_fake[scored.is_fake == (label == "fake")])
            if len(scores):
                at_or_above = 1 - np.arange(len(scores) + 1) / len(scores)
                line = f"{name} ({len(scores):,})"
                axes.step(np.append(scores, [1.0]), 100 * at_or_above, where="pre", label=line, **style)
        axes.axvline(threshold, color="0.5", linewidth=1, label=f"threshold {threshold:.3g}")
        axes.set(title=f"{label} frames", xlabel="p_fake", ylabel="frames at or above, %", xlim=(0, 1), ylim=(0, 101))
        axes.legend(fontsize=8, loc="upper right" if label == "real" else "lower left")
    _save(figure, path)


def plot_robustness(path: Path, rows: Sequence[RobustnessRow]) -> None:
    """AUROC of videos and frames over the levels of each distortion, means over data sets."""
    figure = _figure(13, 3.8)
    distortions = list(dict.fromkeys(row["distortion"] for row in rows))
    lowest = min(min(row["frame"], row["video"]) for row in rows)
    for axes, distortion in zip(figure.subplots(1, len(distortions), sharey=True), distortions, strict=True):
        chosen = [row for row in rows if row["distortion"] == distortion]
        places = range(len(chosen))
        axes.plot(places, [100 * row["video"] for row in chosen], marker="o", label="video")
        axes.plot(places, [100 * row["frame"] for row in chosen], marker="s", linestyle="--", label="frame")
        axes.set_xticks(places, [f"{row['level']:g}" for row in chosen])
        axes.set(title=distortion, xlabel=PARAMETERS[distortion], ylim=(min(50.0, 100 * lowest - 2), 101))
        axes.grid(axis="y", color="0.9")
    figure.axes[0].set_ylabel("AUROC, %")
    figure.axes[0].legend(fontsize=8)
    _save(figure, path)


def _figure(width: float, height: float) -> Figure:
    """An empty picture, inches. Without pyplot: no state outlives it, and no display is looked for."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path, dpi=DPI)


def _styles() -> Iterator[dict[str, str]]:
    """Ten colours, then again dashed: tells twenty lines apart."""
    return cycle({"color": f"C{number % 10}", "linestyle": "-" if number < 10 else "--"} for number in range(20))
