"""Rank agreement, on numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from export.ranking import rank_agreement, rank_failures
from export.report import LIMITS


def test_spearman_of_one_exchanged_pair_of_four() -> None:
    # One minus six times the squared rank differences (1 and 1) over n (n^2 - 1) = 60: 1 - 12 / 60.
    found = rank_agreement(np.array([0.1, 0.2, 0.3, 0.4]), np.array([0.1, 0.3, 0.2, 0.4]), [None] * 4)
    assert found.spearman == pytest.approx(0.8)
    assert found.auroc is None


def test_few_labelled_crops_are_provisional_and_judged_by_rank() -> None:
    p = np.linspace(0, 1, 100)
    labels = ["real"] * 50 + ["fake"] * 50
    same = rank_agreement(p, p, labels)
    assert same.auroc == same.auroc_reference == 1.0
    assert same.provisional
    assert rank_failures(same, LIMITS["bf16"]) == []
    [complaint] = rank_failures(rank_agreement(p, p[::-1], labels), LIMITS["bf16"])
    assert complaint.startswith("rank correlation is -1.0")


def test_a_thousand_labelled_crops_are_judged_by_auroc() -> None:
    rng = np.random.default_rng(0)
    is_fake = np.arange(1000) % 2 == 1
    labels = ["fake" if fake else "real" for fake in is_fake]
    p = np.clip(0.5 + 0.2 * (is_fake - 0.5) + 0.2 * rng.normal(size=1000), 0, 1)
    barely = rank_agreement(p, p + 1e-7 * rng.normal(size=1000), labels)
    assert not barely.provisional
    assert rank_failures(barely, LIMITS["bf16"]) == []
    [complaint] = rank_failures(rank_agreement(p, p + 0.1 * rng.normal(size=1000), labels), LIMITS["bf16"])
    assert complaint.startswith("AUROC may differ by")


def test_the_interval_holds_the_difference_of_the_whole_set() -> None:
    rng = np.random.default_rng(1)
    labels = ["fake" if index % 3 else "real" for index in range(1200)]
    p = np.clip(rng.normal(0.5, 0.2, 1200) + [0.1 * (label == "fake") for label in labels], 0, 1)
    found = rank_agreement(p, p + 0.1 * rng.normal(size=1200), labels)
    low, high = found.auroc_difference_interval
    assert low < found.auroc - found.auroc_reference < high
    assert 0.001 < high - low < 0.1
