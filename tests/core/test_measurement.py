"""What scored crops say: intervals over videos, and the mean over data sets."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from lnclip.index import Item
from lnclip.measurement import measure_sets


@pytest.fixture(scope="module", autouse=True)
def few_resamples() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lnclip.metrics.RESAMPLES", 200)
        yield


def synthetic(num_videos: int, crops: int, datasets: str = "a") -> list[Item]:
    return [
        Item(Path(f"{dataset}{video}_{number}.png"), ("real", "fake")[video % 2], f"v{video}", dataset, "s")
        for dataset in datasets
        for video in range(num_videos)
        for number in range(crops)
    ]


def test_frames_of_one_clip_are_no_independent_evidence() -> None:
    """Eight equal frames of each clip say no more than one does: the interval must be as wide."""
    rng = np.random.default_rng(0)
    scores = rng.uniform(0, 1, 40) + 0.3 * (np.arange(40) % 2)
    one = measure_sets(synthetic(40, 1), scores, 0.5)["datasets"]["a"]["frame"]["auroc"]
    eight = measure_sets(synthetic(40, 8), np.repeat(scores, 8), 0.5)["datasets"]["a"]["frame"]["auroc"]
    assert eight == pytest.approx(one)
    assert one["high"] - one["low"] > 0.15


def test_the_mean_of_sets_is_surer_than_each_and_uncounted_sets_are_not_in_it() -> None:
    """Three sets of equal scores: their resamples must be drawn apart, or the mean would be as unsure as one."""
    one = np.random.default_rng(1).normal([video % 2 for video in range(30)], 1)
    found = measure_sets(synthetic(30, 1, "abcx"), np.concatenate([one, one, one, np.zeros(30)]), 0.5, frozenset("x"))
    single, mean = found["datasets"]["a"]["video"]["auroc"], found["mean"]["video"]["auroc"]
    assert found["mean"]["of"] == ["a", "b", "c"]
    assert mean["value"] == pytest.approx(single["value"])
    assert 0.4 < (mean["high"] - mean["low"]) / (single["high"] - single["low"]) < 0.75  # 1 / sqrt 3 = 0.58
    assert found["pooled"]["videos"] == {"real": 45, "fake": 45}


def test_a_class_of_one_video_has_no_interval() -> None:
    found = measure_sets(synthetic(2, 4), np.arange(8) / 8, 0.5)["datasets"]["a"]
    assert found["frame"]["auroc"] == {"value": 1.0, "low": None, "high": None}
