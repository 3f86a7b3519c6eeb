"""The arithmetic of `benchmarks accuracy`, by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.accuracy.agreement import Labelled, agree, difference_interval, figure, label, power
from benchmarks.accuracy.engines import Candidate
from benchmarks.accuracy.run import _figures
from lnclip.errors import ConfigError
from lnclip.index import Item


def labelled(is_fake: list[int], clips: list[int] | None = None) -> Labelled:
    number = len(is_fake)
    names = [f"{place}.png" for place in range(number)]
    return Labelled(names, np.array(is_fake, bool), np.array(range(number) if clips is None else clips))


def separable(number: int, seed: int = 0) -> tuple[Labelled, np.ndarray]:
    """So many crops, every other one fake, and probabilities whose AUROC is about 0.76."""
    crops = labelled([place % 2 for place in range(number)])
    return crops, 1 / (1 + np.exp(-np.random.default_rng(seed).normal(size=number) - crops.is_fake))


def test_figures_of_six_crops_by_hand() -> None:
    crops = labelled([0, 0, 0, 1, 1, 1])
    reference = np.array([0.1, 0.2, 0.6, 0.4, 0.7, 0.9])
    ours = np.array([0.1, 0.2, 0.6, 0.65, 0.7, 0.9])  # 0.4 against 0.6 was the one pair of 9 in the wrong order
    found = agree("bf16", reference, ours, crops)
    assert found.ranking.auroc_reference == pytest.approx(8 / 9)
    assert found.ranking.auroc == pytest.approx(1)
    assert found.auroc_difference == pytest.approx(1 / 9)
    assert found.max_dp == pytest.approx(0.25)
    assert found.mean_dp == pytest.approx(0.25 / 6)
    # Sorted 0 0 0 0 0 0.25, at rank 0.99 * 5 = 4.95: 95 % of the way from 0 to 0.25.
    assert found.p99_dp == pytest.approx(0.95 * 0.25)
    assert found.worst_crop == "3.png"
    assert found.ranking.spearman == pytest.approx(1 - 6 * 2 / (6 * 35))  # two ranks exchanged
    assert found.ranking.provisional


def test_the_bootstrap_is_paired() -> None:
    """Scores that differ from each other by nothing that matters have an interval of nothing, however few they are."""
    crops, p = separable(60)
    assert difference_interval(p, 2 * p + 1, crops) == (0.0, 0.0)
    low, high = difference_interval(p, p + np.random.default_rng(1).normal(size=60), crops)
    assert low < high - 0.05


def test_the_interval_is_that_of_the_textbook() -> None:
    """Against chance the spread is that of one AUROC: Hanley and McNeil 1982, by hand for n = 200 of each class.

    Q1 = A / (2 - A), Q2 = 2 A^2 / (1 + A), variance = (A (1 - A) + (n - 1) (Q1 + Q2 - 2 A^2)) / n^2.
    """
    crops, p = separable(400)
    constant = np.zeros(400)  # its AUROC is 0.5 in every resample
    found = agree("int8", constant, p, crops)
    area = found.ranking.auroc
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    error = np.sqrt((area * (1 - area) + 199 * (q1 + q2 - 2 * area**2)) / 200**2)
    low, high = found.difference_interval
    assert (high - low) / 2 == pytest.approx(1.96 * error, rel=0.15)
    assert low < area - 0.5 < high


def test_crops_of_one_video_are_one_piece_of_evidence() -> None:
    """Ten copies of each crop, known as such, leave the interval as wide as it was."""
    crops, p = separable(60)
    other = p + 0.5 * np.random.default_rng(1).normal(size=60)
    copied = Labelled(crops.names * 10, np.tile(crops.is_fake, 10), np.tile(crops.clips, 10))
    ends = difference_interval(p, other, crops)
    assert difference_interval(np.tile(p, 10), np.tile(other, 10), copied) == pytest.approx(ends)
    strangers = copied._replace(clips=np.arange(600))
    low, high = difference_interval(np.tile(p, 10), np.tile(other, 10), strangers)
    assert high - low < 0.5 * (ends[1] - ends[0])


def test_fewer_than_a_thousand_crops_are_provisional_and_judged_by_rank() -> None:
    crops, p = separable(200)
    found = agree("int8", p, p, crops)
    assert (found.met, found.complaints) == (None, [])
    assert "**Provisional**: 200 labelled crops of 200 videos" in power([found], crops)
    spread = found._replace(difference_interval=(-0.03, 0.01))
    assert "they tell a change of AUROC to within ±0.02;" in power([found, spread], crops)
    shuffled = agree("int8", p, np.roll(p, 1), crops)
    assert shuffled.met is False
    assert shuffled.complaints[0].startswith("rank correlation")


def test_a_thousand_crops_are_judged_by_the_far_end_of_the_interval() -> None:
    crops, p = separable(1000)
    same = agree("int8", p, p, crops)
    assert same.met is True
    assert power([same], crops) == "1,000 labelled crops of 1,000 videos; they tell a change of AUROC to within ±0."
    noisy = agree("int8", p, p + 0.02 * np.random.default_rng(2).normal(size=1000), crops)
    low, high = noisy.difference_interval
    assert abs(noisy.auroc_difference) < 0.005 < max(-low, high), "the difference alone would pass"
    assert noisy.met is False
    assert noisy.complaints == [f"AUROC may differ by {max(-low, high):.2g} > 0.005"]


def test_one_video_of_a_class_has_no_interval() -> None:
    crops = labelled([0] * 600 + [1] * 600, [0] * 600 + list(range(1, 601)))
    found = agree("bf16", np.linspace(0, 1, 1200), np.linspace(0, 1, 1200), crops)
    assert found.difference_interval is None
    assert found.met is None, "no interval, no verdict on the AUROC"
    assert "show no change of AUROC; a class has one video" in power([found], crops)


def test_fp32_needs_no_labels_to_be_judged() -> None:
    crops, p = separable(50)
    assert agree("fp32", p, p + 0.9e-5, crops).met is True
    assert agree("fp32", p, p + 1.1e-5, crops).complaints == [
        "dp is up to 1.1e-05 > 1e-05",
        "99th percentile of dp is 1.1e-05 > 1e-05",
    ]


def test_the_figure_says_what_was_shown_and_what_is_asked() -> None:
    crops, p = separable(200)
    few = figure(agree("fp16", p, p + 1e-3, crops), 200, "ViT-L-14", "emulated")
    assert few.what == "accuracy of fp16 against torch FP32, ViT-L-14, emulated, 200 crops"
    assert few.figure == "dp at most 1.0e-03, rank correlation 1.00000 (provisional)"
    assert (few.target, few.met) == ("dp at most 1e-02, AUROC within 0.001", None)
    exact = figure(agree("fp32", p, p, crops), 200, "ViT-L-14", "OpenVINO")
    assert exact[1:4] == ("dp at most 0.0e+00", "dp at most 1e-05", True)
    crops, p = separable(1000)
    many = figure(agree("int8", p, p + 0.02, crops), 1000, "ViT-L-14", "OpenVINO")
    assert many[1:4] == ("dp at most 2.0e-02, AUROC +0.0000 (+0.0000..+0.0000)", "AUROC within 0.005", True)


def test_a_gpu_s_figure_is_tensorrt_s_and_says_so() -> None:
    crops, p = separable(200)
    ways = {
        Candidate("fp32", "OpenVINO"): 1e-6,
        Candidate("fp32", "ONNX Runtime"): 2e-6,
        Candidate("fp16", "emulated"): 1e-3,
        Candidate("fp16", "TensorRT"): 2e-3,
    }
    found = _figures({way: agree(way.precision, p, p + dp, crops) for way, dp in ways.items()}, 200, "ViT-B-32")
    assert [(each.what, each.figure.split(",")[0], each.device) for each in found] == [
        ("accuracy of fp32 against torch FP32, ViT-B-32, OpenVINO, 200 crops", "dp at most 1.0e-06", "cpu"),
        ("accuracy of fp16 against torch FP32, ViT-B-32, TensorRT, 200 crops", "dp at most 2.0e-03", "cuda"),
    ]


def row(name: str, said: str, video: str = "") -> Item:
    return Item(Path("crops") / name, said, video, "demo", "photos")


def test_an_index_of_one_class_is_refused() -> None:
    with pytest.raises(ConfigError, match="all 2 crops are fake"):
        label([row("a.png", "fake"), row("b.png", "fake")], Path("crops/index.csv"))


def test_a_video_with_both_labels_is_refused() -> None:
    rows = [row("a.png", "fake", "v1"), row("b.png", "real", "v2"), row("c.png", "real", "v1")]
    with pytest.raises(ConfigError, match="video v1 is real in one row and fake in another"):
        label(rows, Path("crops/index.csv"))


def test_crops_are_named_from_the_folder_of_the_index() -> None:
    found = label(
        [row("a.png", "fake", "v"), row("b.png", "real", "w"), row("c.png", "real", "w")], Path("crops/i.csv")
    )
    assert found.names == ["a.png", "b.png", "c.png"]
    assert found.clips.tolist() == [0, 1, 1]
