"""How well scores separate real from fake. scikit-learn computes; this module fixes the conventions.

Project environment only: the serving environment has no scikit-learn. Everywhere, ``is_fake`` is
(N,) with 1 for fake, and ``p_fake`` is (N,), the higher the more fake.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from lnclip.errors import ConfigError

Labels = NDArray[np.integer] | NDArray[np.bool_]
Scores = NDArray[np.floating]

OPERATING_POINTS = (0.001, 0.01, 0.05)
"""False-positive rates at which the true-positive rate is reported."""


class Report(NamedTuple):
    """Every metric of one set of scores."""

    num_real: int
    num_fake: int
    auroc: float
    ap: float
    """Average precision, fake the positive class."""

    map: float
    eer: float
    tpr_at_fpr: dict[str, float]
    """By false-positive rate, written as a percentage: "0.1%", "1%", "5%"."""


def auroc(is_fake: Labels, p_fake: Scores) -> float:
    """Area under the ROC curve: the chance that a fake scores above a real, ties counted half.

    Raises:
        ConfigError: a class is missing, or a score is not finite.
    """
    _check(is_fake, p_fake)
    return float(roc_auc_score(is_fake, p_fake))


def average_precision(is_fake: Labels, p_fake: Scores) -> float:
    """Average precision with fake as the positive class; raises as ``auroc``."""
    _check(is_fake, p_fake)
    return float(average_precision_score(is_fake, p_fake))


def mean_average_precision(is_fake: Labels, p_fake: Scores) -> float:
    """Mean of the average precisions of fake by p and of real by 1 - p; raises as ``auroc``.

    Source: the mAP of arXiv 2508.06248's code.
    """
    _check(is_fake, p_fake)
    of_real = float(average_precision_score(1 - np.asarray(is_fake, np.int64), -p_fake))
    return (average_precision(is_fake, p_fake) + of_real) / 2


def equal_error_rate(is_fake: Labels, p_fake: Scores) -> float:
    """Where false-positive and false-negative rate meet on the linearly interpolated ROC curve.

    Raises as ``auroc``. Source: root of 1 - x - TPR(x), GenD's code.
    """
    fpr, tpr = _curve(is_fake, p_fake)
    # x + TPR(x) - 1 rises from -1 to 1 along the curve and is linear between its points.
    return float(np.interp(0.0, fpr + tpr - 1, fpr))


def tpr_at_fpr(is_fake: Labels, p_fake: Scores, fpr: float) -> float:
    """True-positive rate at a false-positive rate, linearly interpolated; raises as ``auroc``."""
    rates, tpr = _curve(is_fake, p_fake)
    return float(np.interp(fpr, rates, tpr))


def report(is_fake: Labels, p_fake: Scores) -> Report:
    """Every metric at once; raises as ``auroc``."""
    return Report(
        num_real=int(np.sum(np.asarray(is_fake) == 0)),
        num_fake=int(np.sum(np.asarray(is_fake) == 1)),
        auroc=auroc(is_fake, p_fake),
        ap=average_precision(is_fake, p_fake),
        map=mean_average_precision(is_fake, p_fake),
        eer=equal_error_rate(is_fake, p_fake),
        tpr_at_fpr={f"{100 * fpr:g}%": tpr_at_fpr(is_fake, p_fake, fpr) for fpr in OPERATING_POINTS},
    )


def _curve(is_fake: Labels, p_fake: Scores) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    _check(is_fake, p_fake)
    fpr, tpr, _ = roc_curve(is_fake, p_fake)
    return fpr, tpr


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
