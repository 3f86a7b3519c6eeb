"""lnclip.metrics against numbers worked out by hand, and against scikit-learn and torchmetrics."""

import numpy as np
import pytest
import sklearn.metrics
import torch
from torchmetrics.classification import BinaryCalibrationError

from lnclip.errors import ConfigError
from lnclip.metrics import (
    RESAMPLES,
    Ranking,
    auroc,
    average_precision,
    balanced_accuracy,
    bootstrap,
    equal_error_rate,
    expected_calibration_error,
    interval,
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


def test_balanced_accuracy_calls_fake_what_reaches_the_threshold() -> None:
    labels, scores = np.array([0, 0, 0, 1, 1]), np.array([0.1, 0.5, 0.2, 0.5, 0.4])
    assert balanced_accuracy(labels, scores, 0.5) == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert balanced_accuracy(labels, scores, 0.4) == pytest.approx((2 / 3 + 1) / 2)


def test_calibration_error_is_the_gap_of_each_bin_by_its_count() -> None:
    # Two bins: below 1/2 mean score 0.2 and one fake of three, above mean 0.9 and one of two.
    labels, scores = np.array([0, 1, 0, 1, 0]), np.array([0.1, 0.2, 0.3, 0.8, 1.0])
    assert expected_calibration_error(labels, scores, bins=2) == pytest.approx((3 * (1 / 3 - 0.2) + 2 * 0.4) / 5)


def random_scores(seed: int, *, ties: bool) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, 500)
    scores = 1 / (1 + np.exp(-rng.normal(labels, 1)))
    return labels, np.round(scores, 1) if ties else scores


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_agrees_with_scikit_learn(*, ties: bool, weighted: bool) -> None:
    labels, scores = random_scores(1, ties=ties)
    weights = np.random.default_rng(2).integers(0, 4, 500).astype(float) if weighted else None
    curve = Ranking(labels, scores).curve(weights)
    assert curve.auroc == pytest.approx(sklearn.metrics.roc_auc_score(labels, scores, sample_weight=weights))
    of_fake = sklearn.metrics.average_precision_score(labels, scores, sample_weight=weights)
    of_real = sklearn.metrics.average_precision_score(1 - labels, -scores, sample_weight=weights)
    assert curve.ap == pytest.approx(of_fake)
    assert curve.map == pytest.approx((of_fake + of_real) / 2)
    fpr, tpr, _ = sklearn.metrics.roc_curve(labels, scores, sample_weight=weights, drop_intermediate=False)
    assert curve.eer == pytest.approx(np.interp(0, fpr + tpr - 1, fpr))
    for point in (0.001, 0.01, 0.05, 0.5):
        assert curve.tpr_at(point) == pytest.approx(np.interp(point, fpr, tpr))


def test_balanced_accuracy_and_calibration_error_agree_with_others() -> None:
    labels, scores = random_scores(3, ties=False)
    assert balanced_accuracy(labels, scores, 0.6) == pytest.approx(
        sklearn.metrics.balanced_accuracy_score(labels, scores >= 0.6)
    )
    of_torch = BinaryCalibrationError(n_bins=15, norm="l1")(torch.from_numpy(scores), torch.from_numpy(labels))
    assert expected_calibration_error(labels, scores) == pytest.approx(float(of_torch), abs=1e-6)


def test_bootstrap_draws_whole_clips_and_keeps_the_classes_counts() -> None:
    labels, clips = np.array([0, 0, 0, 1, 1, 1, 1]), np.array([0, 0, 1, 2, 3, 3, 4])

    def weights_themselves(weights: np.ndarray) -> np.ndarray:
        return weights

    drawn = bootstrap(labels, clips, weights_themselves, (7,))
    assert drawn.shape == (RESAMPLES, 7)
    np.testing.assert_array_equal(drawn[:, 0], drawn[:, 1])
    np.testing.assert_array_equal(drawn[:, 4], drawn[:, 5])
    assert (drawn[:, [0, 2]].sum(axis=1) == 2).all()
    assert (drawn[:, [3, 4, 6]].sum(axis=1) == 3).all()
    assert drawn[:, 0].std() > 0.5  # 0, 1 or 2 times with chances 1/4, 1/2, 1/4: 0.71
    np.testing.assert_array_equal(drawn, bootstrap(labels, clips, weights_themselves, (7,)))
    assert (drawn != bootstrap(labels, clips, weights_themselves, (8,))).any()


@pytest.mark.slow
def test_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    """Of 20 samples from a population of AUROC 0.76, 19 +- 1 should cover it."""
    rng, labels, covered = np.random.default_rng(0), np.repeat([0, 1], 60), 0
    for trial in range(20):
        ranking = Ranking(labels, rng.normal(labels, 1))  # AUROC: Phi(1 / sqrt 2) = 0.7602

        def measure(weights: np.ndarray, ranking: Ranking = ranking) -> np.ndarray:
            return np.array([ranking.curve(weights).auroc])

        low, high = interval(bootstrap(labels, np.arange(120), measure, (trial,)))
        covered += bool(low[0] <= 0.7602 <= high[0])
    assert covered >= 16
