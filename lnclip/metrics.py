"""How well scores separate real from fake, and how sure one can be of it.

Everywhere, ``is_fake`` is (N,) with 1 for fake, and ``p_fake`` is (N,), the higher the more fake.
NumPy alone, so that scores are sorted once for all resamples of a bootstrap.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lnclip.errors import ConfigError

Labels = NDArray[np.integer] | NDArray[np.bool_]
Scores = NDArray[np.floating]
Floats = NDArray[np.float64]

OPERATING_POINTS = (0.001, 0.01, 0.05)
"""False-positive rates at which the true-positive rate is reported."""

RESAMPLES = 1000
"""Of a bootstrap: the ends of a 95 % interval then rest on 25 resamples each."""

CONFIDENCE = 0.95
ECE_BINS = 15
"""Equal-width bins of the expected calibration error. Source: Guo et al. 2017, arXiv 1706.04599."""


class Report(NamedTuple):
    """Every metric of one set of scores that needs no threshold."""

    num_real: int
    num_fake: int
    auroc: float
    ap: float
    """Average precision, fake the positive class."""

    map: float
    eer: float
    tpr_at_fpr: dict[str, float]
    """By false-positive rate, written as a percentage: "0.1%", "1%", "5%"."""


class Curve(NamedTuple):
    """Weights at or above each of the K distinct scores, highest first."""

    false_positives: Floats
    """(K + 1,) from 0 to the weight of all reals."""

    true_positives: Floats
    """(K + 1,) from 0 to the weight of all fakes."""

    @property
    def rates(self) -> tuple[Floats, Floats]:
        """False- and true-positive rates, (K + 1,) each: the ROC curve."""
        return self.false_positives / self.false_positives[-1], self.true_positives / self.true_positives[-1]

    @property
    def auroc(self) -> float:
        """Area under the ROC curve."""
        fpr, tpr = self.rates
        return float(np.diff(fpr) @ (tpr[1:] + tpr[:-1]) / 2)

    @property
    def ap(self) -> float:
        """Average precision of fakes: the mean over fakes of the precision down to each."""
        return _average_precision(self.true_positives, self.false_positives)

    @property
    def map(self) -> float:
        """Mean of that and of the average precision of reals, lowest score first."""
        reals, fakes = (counts[-1] - counts[::-1] for counts in self)
        return (self.ap + _average_precision(reals, fakes)) / 2

    @property
    def eer(self) -> float:
        """Where false-positive and false-negative rate meet, between the points too."""
        fpr, tpr = self.rates
        # x + TPR(x) - 1 rises from -1 to 1 along the curve and is linear between its points.
        return float(np.interp(0.0, fpr + tpr - 1, fpr))

    def tpr_at(self, fpr: float) -> float:
        """True-positive rate at a false-positive rate, linear between the points."""
        return float(np.interp(fpr, *self.rates))


class Ranking:
    """Scores, sorted once to be counted under many weights."""

    def __init__(self, is_fake: Labels, p_fake: Scores) -> None:
        """Raises as ``auroc``."""
        _check(is_fake, p_fake)
        self._order = np.argsort(-p_fake, kind="stable")
        ordered = p_fake[self._order]
        self._last_of_ties = np.flatnonzero(np.append(np.diff(ordered) != 0, [True]))
        self._is_fake = np.asarray(is_fake, np.float64)[self._order]

    def curve(self, weights: Floats | None = None) -> Curve:
        """The counts under weights, (N,); without, each score counts once."""
        ordered = np.ones(len(self._order)) if weights is None else weights[self._order]
        fakes = np.cumsum(ordered * self._is_fake)[self._last_of_ties]
        every = np.cumsum(ordered)[self._last_of_ties]
        return Curve(np.append([0.0], every - fakes), np.append([0.0], fakes))


def auroc(is_fake: Labels, p_fake: Scores) -> float:
    """Area under the ROC curve: the chance that a fake scores above a real, ties counted half.

    Raises:
        ConfigError: a class is missing, or a score is not finite.
    """
    return Ranking(is_fake, p_fake).curve().auroc


def average_precision(is_fake: Labels, p_fake: Scores) -> float:
    """Average precision with fake as the positive class; raises as ``auroc``."""
    return Ranking(is_fake, p_fake).curve().ap


def mean_average_precision(is_fake: Labels, p_fake: Scores) -> float:
    """Mean of the average precisions of fake by p and of real by 1 - p; raises as ``auroc``.

    Source: the mAP of arXiv 2508.06248's code.
    """
    return Ranking(is_fake, p_fake).curve().map


def equal_error_rate(is_fake: Labels, p_fake: Scores) -> float:
    """Where false-positive and false-negative rate meet on the linearly interpolated ROC curve.

    Raises as ``auroc``. Source: root of 1 - x - TPR(x), GenD's code.
    """
    return Ranking(is_fake, p_fake).curve().eer


def tpr_at_fpr(is_fake: Labels, p_fake: Scores, fpr: float) -> float:
    """True-positive rate at a false-positive rate, linearly interpolated; raises as ``auroc``."""
    return Ranking(is_fake, p_fake).curve().tpr_at(fpr)


def balanced_accuracy(is_fake: Labels, p_fake: Scores, threshold: float) -> float:
    """Mean of the shares of fakes at or above the threshold and of reals below it; raises as ``auroc``."""
    _check(is_fake, p_fake)
    right = (p_fake >= threshold) == np.asarray(is_fake, np.bool_)
    return sum(float(right[np.asarray(is_fake) == label].mean()) for label in (0, 1)) / 2


def expected_calibration_error(is_fake: Labels, p_fake: Scores, bins: int = ECE_BINS) -> float:
    """Mean distance of p_fake from the share of fakes, over equal-width bins of p_fake, by their counts.

    Raises as ``auroc``.
    """
    _check(is_fake, p_fake)
    places = np.minimum((p_fake * bins).astype(np.int64), bins - 1)
    gaps = np.bincount(places, np.asarray(is_fake, np.float64) - p_fake, bins)
    return float(np.abs(gaps).sum() / len(p_fake))


def report(is_fake: Labels, p_fake: Scores) -> Report:
    """Every metric at once; raises as ``auroc``."""
    curve = Ranking(is_fake, p_fake).curve()
    return Report(
        num_real=int(np.sum(np.asarray(is_fake) == 0)),
        num_fake=int(np.sum(np.asarray(is_fake) == 1)),
        auroc=curve.auroc,
        ap=curve.ap,
        map=curve.map,
        eer=curve.eer,
        tpr_at_fpr={percentage(fpr): curve.tpr_at(fpr) for fpr in OPERATING_POINTS},
    )


def bootstrap(
    is_fake: Labels, clips: NDArray[np.int64], measure: Callable[[Floats], Floats], seed: Sequence[int]
) -> Floats:
    """What metrics would be of other clips like these: (``RESAMPLES``, M).

    As many clips of each class as there are get drawn with replacement; the items of a clip come and
    go together, for they are no independent evidence.

    Args:
        is_fake: (N,) of the items.
        clips: (N,) the clip that each item is of, counted from 0, all of one label.
        measure: from the items' weights, (N,) whole numbers, to M metrics.
        seed: the same draws for the same words and clips.

    Source: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 8.
    """
    rng, num_clips = np.random.default_rng(seed), int(clips.max()) + 1
    of_class = [np.unique(clips[np.asarray(is_fake) == label]) for label in (0, 1)]
    resampled = []
    for _ in range(RESAMPLES):
        drawn = np.concatenate([members[rng.integers(len(members), size=len(members))] for members in of_class])
        resampled.append(measure(np.bincount(drawn, minlength=num_clips)[clips].astype(np.float64)))
    return np.stack(resampled)


def interval(resampled: Floats) -> Floats:
    """Lower and upper end of each metric's interval, (2, M): percentiles of its resamples, (R, M)."""
    tail = (1 - CONFIDENCE) / 2
    return np.asarray(np.quantile(resampled, (tail, 1 - tail), axis=0))


def percentage(share: float) -> str:
    """As in "0.1%"."""
    return f"{100 * share:g}%"


def _average_precision(hits: Floats, misses: Floats) -> float:
    """From counts at or beyond each score, (K + 1,) both, the first 0."""
    taken = hits[1:] + misses[1:]
    precision = hits[1:] / np.maximum(taken, 1e-300)  # nothing taken yet: no recall is gained there either
    return float(np.diff(hits) @ precision / hits[-1])


def _check(is_fake: Labels, p_fake: Scores) -> None:
    labels = np.asarray(is_fake)
    if labels.shape != p_fake.shape or labels.ndim != 1:
        raise ValueError(f"labels {labels.shape} and scores {p_fake.shape} must be (N,) both")
    if not np.isin(labels, (0, 1)).all():
        raise ValueError("labels must be 0 (real) or 1 (fake)")
    fakes = int(labels.sum())
    if fakes in (0, len(labels)):
        missing = "fake" if fakes == 0 else "real"
        raise ConfigError(f"all {len(labels)} items are of one class: metrics need at least one {missing} item too")
    if not np.isfinite(p_fake).all():
        raise ConfigError(f"{int((~np.isfinite(p_fake)).sum())} of {len(labels)} scores are not finite numbers")
