"""lnclip.metrics against numbers worked out by hand."""

import numpy as np
import pytest

from lnclip.errors import ConfigError
from lnclip.metrics import (
    auroc,
    average_precision,
    equal_error_rate,
    mean_average_precision,
    report,
    tpr_at_fpr,
)

IS_FAKE = np.array([0, 0, 1, 1])
MIXED = np.array([0.1, 0.4, 0.35, 0.8])  # ROC: (0,0) (0,1/2) (1/2,1/2) (1/2,1) (1,1)
TIED = np.array([0.2, 0.6, 0.6, 0.9])  # ROC: (0,0) (0,1/2) (1/2,1) (1,1)


def test_auroc_counts_pairs_in_order_and_ties_by_half() -> None:
    assert auroc(IS_FAKE, MIXED) == pytest.approx(3 / 4)
    assert auroc(IS_FAKE, TIED) == pytest.approx(3.5 / 4)
    assert auroc(IS_FAKE, 1 - MIXED) == pytest.approx(1 / 4)


def test_average_precision_of_both_classes() -> None:
    # Fake, best first: hit (precision 1), miss, hit (2/3); real, best first: the same pattern.
    assert average_precision(IS_FAKE, MIXED) == pytest.approx((1 + 2 / 3) / 2)
    assert mean_average_precision(IS_FAKE, MIXED) == pytest.approx((1 + 2 / 3) / 2)
    # One real, lowest but one: fake = hit, hit, miss, hit = (1 + 1 + 3/4) / 3; real = miss, hit = 1/2.
    labels, scores = np.array([1, 1, 0, 1]), np.array([0.9, 0.8, 0.3, 0.1])
    assert average_precision(labels, scores) == pytest.approx(2.75 / 3)
    assert mean_average_precision(labels, scores) == pytest.approx((2.75 / 3 + 1 / 2) / 2)


def test_equal_error_rate_lies_between_the_points_of_the_curve() -> None:
    assert equal_error_rate(IS_FAKE, TIED) == pytest.approx(1 / 4)  # 1 - x = 1/2 + x
    assert equal_error_rate(IS_FAKE, MIXED) == pytest.approx(1 / 2)
    assert equal_error_rate(IS_FAKE, IS_FAKE.astype(float)) == 0


def test_tpr_at_fpr_is_interpolated_and_the_best_where_the_curve_rises() -> None:
    assert tpr_at_fpr(IS_FAKE, TIED, 0.1) == pytest.approx(0.6)
    assert tpr_at_fpr(IS_FAKE, TIED, 0.001) == pytest.approx(0.501)
    assert tpr_at_fpr(IS_FAKE, MIXED, 0.5) == 1


def test_report_names_every_operating_point() -> None:
    found = report(IS_FAKE, TIED)
    assert (found.num_real, found.num_fake) == (2, 2)
    assert found.tpr_at_fpr == pytest.approx({"0.1%": 0.501, "1%": 0.51, "5%": 0.55})


@pytest.mark.parametrize(("label", "missing"), [(0, "fake"), (1, "real")])
def test_a_missing_class_is_named(label: int, missing: str) -> None:
    for metric in (auroc, average_precision, mean_average_precision, equal_error_rate, report):
        with pytest.raises(ConfigError, match=f"all 3 items are of one class: .* at least one {missing}"):
            metric(np.full(3, label), np.array([0.1, 0.2, 0.3]))


def test_scores_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(ConfigError, match="1 of 4 scores are not finite"):
        auroc(IS_FAKE, np.array([0.1, np.nan, 0.3, 0.4]))


def test_lengths_must_agree() -> None:
    with pytest.raises(ValueError, match=r"\(4,\).*\(3,\)"):
        auroc(IS_FAKE, TIED[:3])
