"""Whether two sets of scores sort the crops alike: AUROC where labels allow it, else Spearman.

An AUROC of a few crops says little, so below 1,000 labelled ones the rank correlation is judged and
the AUROC is only told, as provisional.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from export.report import Limits, Ranking

MIN_LABELLED = 1000
RESAMPLES = 1000
"""Of the paired bootstrap."""

REAL_ROWS = 256
"""Real crops whose pairs with all fake ones are held at once."""

Scores = NDArray[np.float64]


def rank_failures(ranking: Ranking, limits: Limits) -> list[str]:
    """What is beyond the limits, in words; none when the gate is passed."""
    interval = ranking.auroc_difference_interval
    if interval is None:
        low = limits.min_spearman is not None and not ranking.spearman >= limits.min_spearman
        return [f"rank correlation is {ranking.spearman:.6f} < {limits.min_spearman}"] if low else []
    worst = max(map(abs, interval))
    high = limits.auroc is not None and not worst <= limits.auroc
    return [f"AUROC may differ by {worst:.2g} > {limits.auroc}"] if high else []


def rank_agreement(p_reference: Scores, p: Scores, labels: list[str | None], *, seed: int = 0) -> Ranking:
    """Compare two sets of scores of the same N crops.

    Args:
        p_reference: (N,).
        p: (N,).
        labels: N of "real", "fake" or None.
        seed: of the bootstrap.
    """
    labelled = np.array([label is not None for label in labels])
    is_fake = np.array([label == "fake" for label in labels])[labelled]
    spearman = _spearman(p_reference, p)
    if is_fake.all() or not is_fake.any():
        return Ranking(
            spearman=spearman,
            labelled=len(is_fake),
            auroc_reference=None,
            auroc=None,
            auroc_difference_interval=None,
            provisional=True,
        )
    from lnclip.metrics import auroc  # scikit-learn takes seconds to import

    ours, theirs = p[labelled], p_reference[labelled]
    provisional = len(is_fake) < MIN_LABELLED
    return Ranking(
        spearman=spearman,
        labelled=len(is_fake),
        auroc_reference=auroc(is_fake, theirs),
        auroc=auroc(is_fake, ours),
        auroc_difference_interval=None if provisional else _difference_interval(is_fake, theirs, ours, seed),
        provisional=provisional,
    )


def _difference_interval(is_fake: NDArray[np.bool_], theirs: Scores, ours: Scores, seed: int) -> tuple[float, float]:
    """95 % interval of AUROC(ours) - AUROC(theirs), the same crops drawn for both; classes keep their sizes.

    An AUROC is the mean over all pairs of a real and a fake crop of "the fake one scores higher", so
    a resampled difference is the mean of the pairs' differences, weighted by how often each was drawn.
    """
    rng = np.random.default_rng(seed)
    real, fake = np.flatnonzero(~is_fake), np.flatnonzero(is_fake)
    drawn_real, drawn_fake = (
        rng.multinomial(len(rows), np.full(len(rows), 1 / len(rows)), RESAMPLES).astype(np.float32) / len(rows)
        for rows in (real, fake)
    )
    differences = np.zeros(RESAMPLES)
    for start in range(0, len(real), REAL_ROWS):
        rows = real[start : start + REAL_ROWS, None]
        pairs = (np.sign(ours[fake] - ours[rows]) - np.sign(theirs[fake] - theirs[rows])) / 2
        differences += (drawn_real[:, start : start + REAL_ROWS] @ pairs.astype(np.float32) * drawn_fake).sum(axis=1)
    low, high = np.percentile(differences, [2.5, 97.5]).tolist()
    return low, high


def _spearman(a: Scores, b: Scores) -> float:
    """Pearson's correlation of the ranks; 1 when neither varies, nan when one does not."""
    ranks_a, ranks_b = _ranks(a), _ranks(b)
    if np.array_equal(ranks_a, ranks_b):
        return 1.0
    with np.errstate(invalid="ignore"):
        return float(np.corrcoef(ranks_a, ranks_b)[0, 1])


def _ranks(values: Scores) -> Scores:
    """Ranks from 0, ties sharing their mean."""
    _, group, sizes = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(sizes) - (sizes + 1) / 2)[group])
