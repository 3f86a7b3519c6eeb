"""The accuracy record's picture: how many crops differ by how much, and what is known of the AUROC."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.accuracy.agreement import Agreement
from export.report import LIMITS
from lnclip.metrics import Floats

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SMALLEST = 1e-9
"""Differences below it are drawn there: a logarithm needs some number."""


def plot_agreements(found: Mapping[str, tuple[Agreement, Floats]]) -> Figure:
    """Left the share of crops beyond each difference, right the AUROC's intervals and limits.

    Args:
        found: each engine's figures and its (N,) differences of p_fake to the reference.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure: Figure
    figure, (shares, intervals) = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
    for place, (name, (agreement, differences)) in enumerate(found.items()):
        dp = np.sort(np.maximum(np.abs(differences), SMALLEST))[::-1]
        shares.step(dp, np.arange(1, len(dp) + 1) / len(dp), where="post", color=f"C{place}", label=name)
        limits = LIMITS[agreement.precision]
        if limits.max_dp < 1:
            shares.axvline(limits.max_dp, color=f"C{place}", linestyle=":")
        low, high = agreement.difference_interval or (agreement.auroc_difference,) * 2
        intervals.plot([low, high], [place, place], color=f"C{place}", linewidth=3)
        intervals.plot(agreement.auroc_difference, place, "o", color=f"C{place}")
        if limits.auroc is not None:
            for edge in (-limits.auroc, limits.auroc):
                intervals.plot([edge, edge], [place - 0.35, place + 0.35], color="0.4", linestyle=":")
    shares.set(
        xscale="log", yscale="log", xlabel="dp: difference of p_fake to torch FP32", ylabel="share of crops beyond"
    )
    shares.set_xlim(left=SMALLEST / 100)
    shares.set_title("differences (dotted: the largest allowed)", fontsize=9)
    if found:
        shares.legend(fontsize=7, loc="lower left")
    intervals.axvline(0, color="0.8")
    intervals.set_yticks(range(len(found)), list(found), fontsize=8)
    intervals.invert_yaxis()
    intervals.locator_params(axis="x", nbins=5)
    intervals.ticklabel_format(axis="x", style="sci", scilimits=(-3, 3))
    intervals.set(xlabel="AUROC minus torch's, 95 % interval")
    intervals.set_title("dotted: the change that is allowed", fontsize=9)
    return figure
