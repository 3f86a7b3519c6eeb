"""When one setting counts as better than another: the arithmetic by hand."""

import pytest

from benchmarks.tuning.comparing import MAX_ROUNDS, STUDENT_95, Pair, Sample, compared, gains, judge, lower_bound

LIMIT_MS = 100.0


def sample(images_per_s: float, p99_ms: float = 50.0, failed: int = 0) -> Sample:
    return Sample(images_per_s, p99_ms, images_per_s, 1.0, failed, True)


def pairs(*ratios: float, p99_ms: float = 50.0) -> list[Pair]:
    return [Pair(sample(10.0), sample(10.0 * ratio, p99_ms)) for ratio in ratios]


def test_the_bound_is_student_s():
    """ln 1.1 = 0.09531, ln 1.2 = 0.18232: mean 0.13882, deviation 0.06153, error 0.04351; times 6.314: 0.27471."""
    assert lower_bound([1.1, 1.2]) == pytest.approx(0.87294, abs=2e-4)


def test_equal_rounds_have_no_noise_and_one_round_shows_nothing():
    assert lower_bound([1.25] * 5) == pytest.approx(1.25)
    assert lower_bound([1.25]) == 0.0


def test_quantiles_are_those_of_student_s_distribution():
    stats = pytest.importorskip("scipy.stats")
    for freedom, quantile in enumerate(STUDENT_95, 1):
        assert quantile == pytest.approx(stats.t.ppf(0.95, freedom), abs=1e-3)
    assert len(STUDENT_95) == MAX_ROUNDS - 1


@pytest.mark.parametrize(
    ("ratios", "is_better", "reason"),
    [
        ((1.10, 1.12, 1.11), True, "better"),
        ((0.99, 1.12, 1.10, 1.12, 1.11), True, "better"),
        ((0.80, 1.30, 1.10), False, "within the noise"),
        ((1.010, 1.011, 1.010), False, "better by less than 2.0%"),
        ((0.99, 0.98, 1.01), False, "not better"),
    ],
)
def test_better_is_beyond_the_noise_and_worth_it(ratios, is_better, reason):
    assert judge(pairs(*ratios), LIMIT_MS)[::2] == (is_better, reason)


def test_what_the_noise_shows_by_itself_is_no_gain():
    assert judge(pairs(1.10, 1.11, 1.10), LIMIT_MS, min_gain=0.15).reason == "better by less than 15.0%"


def test_a_loser_is_given_up_after_two_rounds_and_not_before():
    assert not judge(pairs(0.9), LIMIT_MS).is_hopeless
    assert judge(pairs(0.9, 0.95), LIMIT_MS).is_hopeless
    assert not judge(pairs(0.9, 1.2), LIMIT_MS).is_hopeless


def test_more_throughput_above_the_latency_limit_is_worth_nothing():
    found = judge(pairs(1.5, 1.5, p99_ms=120.0), LIMIT_MS)
    assert (found.is_better, found.is_hopeless) == (False, True)
    assert found.reason == "p99 120 ms is above the limit"


def test_while_the_incumbent_is_too_slow_the_latency_is_what_counts():
    slow = [Pair(sample(10.0, 200.0), sample(8.0, 100.0)), Pair(sample(10.0, 220.0), sample(8.0, 110.0))]
    assert gains(slow, LIMIT_MS) == [2.0, 2.0]
    assert judge(slow, LIMIT_MS).is_better
    assert gains(slow, 1000.0) == [0.8, 0.8]
    assert (compared(slow, LIMIT_MS), compared(slow, 1000.0)) == ("p99 latency", "images/s")


def test_failed_requests_are_never_a_gain():
    found = judge([Pair(sample(10.0), sample(30.0, failed=2))], LIMIT_MS)
    assert found == (False, True, "2 requests failed")
