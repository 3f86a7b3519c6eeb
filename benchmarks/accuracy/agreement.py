"""How far an engine's scores of labelled crops lie from the reference's, and what so many crops can show.

Arithmetic alone. Legend: N crops.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.records import Figure
from export.ranking import MIN_LABELLED, rank_agreement, rank_failures
from export.report import LIMITS, Ranking
from lnclip.artifact import Precision
from lnclip.errors import ConfigError
from lnclip.index import Item
from lnclip.metrics import Floats, auroc, bootstrap, interval
from lnclip.metrics import Ranking as Sorted
from lnclip.pooling import clip_numbers

SEED = 0


class Labelled(NamedTuple):
    """N crops, as far as a comparison needs to know them."""

    names: list[str]
    """N, from the index's folder."""

    is_fake: NDArray[np.bool_]
    """(N,)."""

    clips: NDArray[np.int64]
    """(N,) the video that each is of, counted from 0."""

    @property
    def num_clips(self) -> int:
        """Videos; an image is one of its own."""
        return int(self.clips.max()) + 1


class Agreement(NamedTuple):
    """One engine against the reference."""

    precision: Precision
    max_dp: float
    """Largest difference of p_fake."""

    p99_dp: float
    mean_dp: float
    worst_crop: str
    """Where it is largest."""

    ranking: Ranking
    auroc_difference: float
    """AUROC minus the reference's."""

    difference_interval: tuple[float, float] | None
    """95 % of it; None where a class has one video only."""

    @property
    def complaints(self) -> list[str]:
        """What is beyond the precision's limits, in words."""
        limits = LIMITS[self.precision]
        figures = {
            f"dp is up to {self.max_dp:.2g} > {limits.max_dp:g}": self.max_dp > limits.max_dp,
            f"99th percentile of dp is {self.p99_dp:.2g} > {limits.p99_dp:g}": self.p99_dp > limits.p99_dp,
        }
        return [words for words, failed in figures.items() if failed] + rank_failures(self.ranking, limits)

    @property
    def met(self) -> bool | None:
        """None: nothing is beyond a limit, but the AUROC's could not be judged."""
        if self.complaints:
            return False
        return None if self.ranking.provisional and LIMITS[self.precision].auroc is not None else True


def label(items: Sequence[Item], index: Path) -> Labelled:
    """What the rows of an index say of their crops.

    Raises:
        ConfigError: one class is missing, or a video has both labels.
    """
    is_fake = np.array([item.label == "fake" for item in items])
    if is_fake.all() or not is_fake.any():
        raise ConfigError(f"{index}: all {len(items)} crops are {items[0].label}; an AUROC needs crops of both classes")
    clips, first = clip_numbers(items)
    if (mixed := is_fake != is_fake[np.array(first)[clips]]).any():
        video = items[int(mixed.argmax())].video
        raise ConfigError(f"{index}: the video {video} is real in one row and fake in another; give it one label")
    return Labelled([os.path.relpath(item.path, index.parent) for item in items], is_fake, clips)


def agree(precision: Precision, p_reference: Floats, p: Floats, crops: Labelled) -> Agreement:
    """Compare two sets of scores of the same crops.

    Args:
        precision: whose limits hold.
        p_reference: (N,).
        p: (N,).
        crops: N of them.
    """
    dp = np.abs(p - p_reference)
    found = difference_interval(p_reference, p, crops)
    provisional = len(p) < MIN_LABELLED or found is None
    ours, theirs = (auroc(crops.is_fake, scores) for scores in (p, p_reference))
    ranking = Ranking(
        spearman=rank_agreement(p_reference, p, [None] * len(p)).spearman,
        labelled=len(p),
        auroc_reference=theirs,
        auroc=ours,
        auroc_difference_interval=None if provisional else found,
        provisional=provisional,
    )
    return Agreement(
        precision=precision,
        max_dp=float(dp.max()),
        p99_dp=float(np.percentile(dp, 99)),
        mean_dp=float(dp.mean()),
        worst_crop=crops.names[int(dp.argmax())],
        ranking=ranking,
        auroc_difference=ours - theirs,
        difference_interval=found,
    )


def difference_interval(p_reference: Floats, p: Floats, crops: Labelled) -> tuple[float, float] | None:
    """95 % interval of AUROC(p) - AUROC(p_reference), the same videos drawn for both (paired bootstrap).

    Crops of one video are drawn together: they are no independent evidence.

    Args:
        p_reference: (N,).
        p: (N,).
        crops: N of them.
    """
    if min(len(np.unique(crops.clips[crops.is_fake == label])) for label in (False, True)) < 2:
        return None
    ours, theirs = Sorted(crops.is_fake, p), Sorted(crops.is_fake, p_reference)

    def difference(weights: Floats) -> Floats:
        return np.array([ours.curve(weights).auroc - theirs.curve(weights).auroc])

    low, high = interval(bootstrap(crops.is_fake, crops.clips, difference, [SEED]))[:, 0].tolist()
    return low, high


def power(agreements: Sequence[Agreement], crops: Labelled) -> str:
    """What so many crops can show, as a sentence for the record."""
    counted = f"{len(crops.names):,} labelled crops of {crops.num_clips:,} videos"
    halves = [np.ptp(each.difference_interval) / 2 for each in agreements if each.difference_interval]
    shown = f"tell a change of AUROC to within ±{max(halves):.2g}" if halves else "show no change of AUROC"
    if len(crops.names) >= MIN_LABELLED and halves:
        return f"{counted}; they {shown}."
    why = f"a verdict on AUROC needs {MIN_LABELLED:,}" if halves else "a class has one video, so nothing varies"
    return f"**Provisional**: {counted}; they {shown}; {why}. In its stead rank correlation is judged."


def figure(agreement: Agreement, num_crops: int, encoder: str, engine: str) -> Figure:
    """The row of one precision in README's table; ``engine`` is whose answers these are."""
    limits, ends = LIMITS[agreement.precision], agreement.difference_interval
    found, wanted = [f"dp at most {agreement.max_dp:.1e}"], list[str]()
    if limits.max_dp < 1:
        wanted.append(f"dp at most {limits.max_dp:.0e}")
    if limits.auroc is not None:
        wanted.append(f"AUROC within {limits.auroc:g}")
        if agreement.ranking.provisional or ends is None:
            found.append(f"rank correlation {agreement.ranking.spearman:.5f} (provisional)")
        else:
            found.append(f"AUROC {agreement.auroc_difference:+.4f} ({ends[0]:+.4f}..{ends[1]:+.4f})")
    what = f"accuracy of {agreement.precision} against torch FP32, {encoder}, {engine}, {num_crops:,} crops"
    return Figure(what, ", ".join(found), ", ".join(wanted), agreement.met)
