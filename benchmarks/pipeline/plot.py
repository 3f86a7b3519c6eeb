"""The pipeline's plot: how fast each route is, and what the CPU time of one image is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.pipeline.files_to_rows import Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure

OURS, THEIRS = "tab:blue", "tab:gray"


def plot(results: Sequence[Result], parts: Mapping[str, float], caption: str) -> Figure:
    """Bars of images/s with the ratio beside each, and one bar of CPU milliseconds, part by part.

    Args:
        results: the first one is what the ratios are to.
        parts: CPU ms of one image through the ensemble.
        caption: above both.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure: Figure
    figure, (speed, cost) = plt.subplots(
        2, 1, figsize=(9, 2.6 + 0.42 * len(results)), height_ratios=[len(results), 2], layout="constrained"
    )
    names = [result.name for result in results]
    medians = np.array([result.images_per_s for result in results])
    ends = np.array([[result.slowest for result in results], [result.fastest for result in results]])
    is_ours = [result.encoder_batch > 0 for result in results]
    bars = speed.barh(
        names, medians, xerr=np.abs(ends - medians), capsize=3, color=[OURS if ours else THEIRS for ours in is_ours]
    )
    speed.bar_label(bars, [f" {r.images_per_s:.2f}/s, {r.ratio:.2f}x" for r in results], padding=6, fontsize=8)
    speed.set_xlim(0, ends.max() * 1.3)
    speed.invert_yaxis()
    speed.set_xlabel("images/s, files to rows (whiskers: slowest and fastest round)", fontsize=8)
    left = 0.0
    for index, (part, cpu_ms) in enumerate(parts.items()):
        width = max(cpu_ms, 0.0)
        cost.barh(["ensemble"], [width], left=left, color=f"C{index}", label=f"{part} {cpu_ms:.1f}")
        left += width
    cost.set_xlabel("CPU ms for one image", fontsize=8)
    cost.legend(ncols=3, fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.55), frameon=False)
    for axes in (speed, cost):
        axes.tick_params(labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(caption, fontsize=9)
    return figure
