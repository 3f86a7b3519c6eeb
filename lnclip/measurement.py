"""Metrics of scored crops and videos, per data set, in the mean over data sets, and of all together.

What is returned goes into metrics.json as it is. Legend: N items (crops or videos), M metrics, R resamples.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import NamedTuple, TypedDict

import numpy as np
from numpy.typing import NDArray

from lnclip.errors import ConfigError
from lnclip.index import Item
from lnclip.metrics import OPERATING_POINTS, Floats, Ranking, bootstrap, interval, percentage
from lnclip.pooling import Scored, by_dataset, clip_numbers, pool_videos

NAMES = ("auroc", "map", "eer", *(f"tpr@{percentage(fpr)}" for fpr in OPERATING_POINTS), "balanced_accuracy")
"""The M metrics, in this order; balanced accuracy is at the run's own threshold."""

SEED = 0
"""Of the bootstrap."""


class Estimate(TypedDict):
    """One metric and its interval, which is null where a class has one video only: that shows no spread."""

    value: float
    low: float | None
    high: float | None


Metrics = dict[str, Estimate]
"""By ``NAMES``."""


class Counts(TypedDict):
    """So many of each class."""

    real: int
    fake: int


class SetMetrics(TypedDict):
    """Of one data set."""

    frames: Counts
    videos: Counts
    not_measurable: str | None
    """Why there are no metrics."""

    frame: Metrics
    video: Metrics


class MeanMetrics(TypedDict):
    """Over data sets, each counting once."""

    of: list[str]
    frame: Metrics
    video: Metrics


class Measurement(TypedDict):
    """All of it."""

    datasets: dict[str, SetMetrics]
    mean: MeanMetrics
    pooled: SetMetrics
    """Of all crops of the data sets that count in the mean."""


class Level(NamedTuple):
    """Metrics of the crops or of the videos of a data set."""

    values: Floats
    """(M,)"""

    resampled: Floats | None
    """(R, M)"""


def measure_sets(
    items: Sequence[Item], p_fake: Floats, threshold: float, uncounted: frozenset[str] = frozenset()
) -> Measurement:
    """Metrics of each data set that the items name, in the order they come.

    Args:
        items: N crops.
        p_fake: (N,) theirs.
        threshold: the run's.
        uncounted: data sets that count neither in the mean nor in the pool.

    Raises:
        ConfigError: there is one class only in every data set, a score is not finite, or a video has both labels.
    """
    sets, levels = {}, []
    for name, scored in by_dataset(items, p_fake).items():
        sets[name], pair = _measure(scored, threshold, name)
        if pair and name not in uncounted:
            levels.append((name, pair))
    if all(measured["not_measurable"] for measured in sets.values()):
        raise ConfigError(f"no data set has reals and fakes: {', '.join(sets)}; give files of both classes")
    counted = [place for place, item in enumerate(items) if item.dataset not in uncounted]
    pool = Scored([items[place] for place in counted], p_fake[counted])
    return Measurement(datasets=sets, mean=_mean(levels), pooled=_measure(pool, threshold, "")[0])


def _measure(scored: Scored, threshold: float, name: str) -> tuple[SetMetrics, tuple[Level, Level] | None]:
    """One set's metrics as reported, and the levels (frame, video) they rest on.

    Each name has draws of its own: the resamples of two sets must not go hand in hand into a mean.
    """
    seed, videos = (SEED, zlib.crc32(name.encode())), pool_videos(*scored)
    measured = SetMetrics(
        frames=_counts(scored.is_fake), videos=_counts(videos.is_fake), not_measurable=None, frame={}, video={}
    )
    if not measured["frames"]["real"] or not measured["frames"]["fake"]:
        found = f"all {len(scored.items)} are {scored.items[0].label}" if scored.items else "there are none"
        measured["not_measurable"] = f"files of both classes are needed, {found}"
        return measured, None
    clips, _ = clip_numbers(scored.items)
    frame = measure_level(scored.is_fake, scored.p_fake, clips, threshold, seed)
    video = measure_level(videos.is_fake, videos.p_fake, np.arange(len(videos.items)), threshold, seed)
    measured["frame"], measured["video"] = _estimates(frame), _estimates(video)
    return measured, (frame, video)


def measure_level(
    is_fake: NDArray[np.int64], p_fake: Floats, clips: NDArray[np.int64], threshold: float, seed: Sequence[int]
) -> Level:
    """Metrics of N items of both classes, and of resamples of the clips that they are of.

    Args:
        is_fake: (N,).
        p_fake: (N,).
        clips: (N,) counted from 0.
        threshold: for the balanced accuracy.
        seed: of the resamples.
    """
    ranking = Ranking(is_fake, p_fake)
    hit, rejected = (is_fake == 1) & (p_fake >= threshold), (is_fake == 0) & (p_fake < threshold)

    def measure(weights: Floats) -> Floats:
        curve = ranking.curve(weights)
        reals, fakes = curve.false_positives[-1], curve.true_positives[-1]
        balanced = (weights @ hit / fakes + weights @ rejected / reals) / 2
        return np.array([curve.auroc, curve.map, curve.eer, *map(curve.tpr_at, OPERATING_POINTS), balanced])

    num_clips = [len(np.unique(clips[is_fake == label])) for label in (0, 1)]
    resampled = bootstrap(is_fake, clips, measure, seed) if min(num_clips) > 1 else None
    return Level(measure(np.ones(len(p_fake))), resampled)


def _mean(levels: Sequence[tuple[str, tuple[Level, Level]]]) -> MeanMetrics:
    """Over data sets; each resample of the mean is the mean of one resample of each."""
    frames, videos = [frame for _, (frame, _) in levels], [video for _, (_, video) in levels]
    return MeanMetrics(of=[name for name, _ in levels], frame=_mean_of(frames), video=_mean_of(videos))


def _mean_of(levels: Sequence[Level]) -> Metrics:
    if not levels:
        return {}
    resampled = [level.resampled for level in levels if level.resampled is not None]
    spread = np.mean(resampled, axis=0) if len(resampled) == len(levels) else None
    return _estimates(Level(np.mean([level.values for level in levels], axis=0), spread))


def _estimates(level: Level) -> Metrics:
    ends = [(None, None)] * len(NAMES) if level.resampled is None else interval(level.resampled).T.tolist()
    return {
        name: Estimate(value=value, low=low, high=high)
        for name, value, (low, high) in zip(NAMES, level.values.tolist(), ends, strict=True)
    }


def _counts(is_fake: NDArray[np.int64]) -> Counts:
    return Counts(real=int((is_fake == 0).sum()), fake=int(is_fake.sum()))
