"""One number and one stretch from many: by hand, and against the definitions word for word."""

from __future__ import annotations

import itertools
from statistics import fmean

import numpy as np
import pytest

from client.rows import VideoFrame
from client.video.options import Rule, VideoOptions
from client.video.rules import Series, deciding_series, worst_stretch
from client.video.tracks import follow
from lnclip.errors import ConfigError
from tests.client.video.faces import face, frames_of

TWO_PEOPLE = frames_of(
    [face(0, 0.2, side=120), face(300, 0.9)],
    [face(0, 0.4, side=120), face(300, 0.7)],
    [],
    [face(300, 0.5)],
)
"""The left one is larger and is gone when the right one is alone."""


def decided(frames: list[VideoFrame], rule: Rule) -> Series | None:
    return deciding_series(frames, follow(frames), rule)


@pytest.mark.parametrize(
    ("rule", "p_fakes"),
    [("track", (0.9, 0.7, 0.5)), ("frames", (0.9, 0.7, 0.5)), ("paper", (0.2, 0.4, 0.5))],
)
def test_rules_by_hand(rule: Rule, p_fakes: tuple[float, ...]) -> None:
    """track: the right one, (0.9 + 0.7 + 0.5) / 3. frames: the server's maximum, here the same faces'."""
    series = decided(TWO_PEOPLE, rule)
    assert series == ((0, 1, 3), p_fakes)
    assert series is not None
    assert series.p_fake == pytest.approx({"track": 0.7, "frames": 0.7, "paper": 1.1 / 3}[rule])


def test_rules_differ_where_the_suspect_changes() -> None:
    """Each of two people is suspicious in one half: as a track neither is, frame by frame one always is."""
    frames = frames_of(*[[face(0, 0.9, side=110), face(300, 0.1)]] * 3, *[[face(0, 0.1, side=110), face(300, 0.9)]] * 3)
    means = {rule: series.p_fake for rule in ("track", "frames", "paper") if (series := decided(frames, rule))}
    assert means == pytest.approx({"track": 0.5, "frames": 0.9, "paper": 0.5})


def test_a_glimpse_does_not_decide() -> None:
    """Two frames of something that looks like a face, beside a person in ten."""
    frames = frames_of(*[[face(0, 0.1), face(400, 1.0)]] * 2, *[[face(0, 0.1)]] * 8)
    series = decided(frames, "track")
    assert series is not None
    assert series.p_fake == pytest.approx(0.1)
    assert len(series.frames) == 10


def papers_rule(faces: list[list[tuple[float, float]]]) -> float:
    """The papers' evaluation, step by step: (width, p_fake) of each frame's faces; one crop a frame, the
    softmax of a video's crops averaged, frames without a face not in the set."""
    softmax = []
    for found in faces:
        if found:
            _, p_fake = max(found)
            softmax.append([1 - p_fake, p_fake])
    return float(np.mean(softmax, axis=0)[1])


def test_the_papers_rule_is_theirs() -> None:
    rng = np.random.default_rng(0)
    drawn = [
        [(float(60 + 10 * n), float(rng.random())) for n in rng.permutation(rng.integers(0, 4))] for _ in range(40)
    ]
    frames = frames_of(
        *[
            [face(300 * n, p_fake, side=side) for n, (side, p_fake) in enumerate(sorted(found, reverse=True))]
            for found in drawn
        ]
    )
    series = decided(frames, "paper")
    assert series is not None
    assert series.p_fake == pytest.approx(papers_rule(drawn), abs=1e-12)


@pytest.mark.parametrize("rule", ["track", "frames", "paper"])
def test_no_face_decides_nothing(rule: Rule) -> None:
    assert decided(frames_of([], [], []), rule) is None
    assert decided([], rule) is None


@pytest.mark.parametrize(
    ("p_fakes", "stretch"),
    [
        ([0.1, 0.9, 0.8, 0.2], (1, 2)),
        ([0.1, 0.9, 0.4, 0.9, 0.2], (1, 3)),  # the dip of 0.1 is worth the 0.4 behind it
        ([0.9, 0.0, 0.9], (0, 0)),  # the dip of 0.5 is not
        ([0.6, 0.0, 0.9, 0.7], (2, 3)),
        ([0.2, 0.4, 0.3], (1, 1)),
        ([0.7], (0, 0)),
        ([0.8, 0.8, 0.8], (0, 2)),
        ([1.0, 0.0, 0.1, 0.9], (0, 0)),
    ],
)
def test_the_worst_stretch_by_hand(p_fakes: list[float], stretch: tuple[int, int]) -> None:
    assert worst_stretch(p_fakes, 0.5) == stretch


def test_the_worst_stretch_is_the_best_of_all_stretches() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        p_fakes, threshold = rng.random(rng.integers(1, 12)).tolist(), float(rng.random())
        sums = {
            (first, last): sum(p_fake - threshold for p_fake in p_fakes[first : last + 1])
            for first, last in itertools.combinations_with_replacement(range(len(p_fakes)), 2)
        }
        first, last = worst_stretch(p_fakes, threshold)
        assert sums[first, last] == pytest.approx(max(sums.values()))
        assert fmean(p_fakes[first : last + 1]) >= min(max(p_fakes), threshold)


@pytest.mark.parametrize("wrong", [{"frames": 0}, {"stride": 0}, {"sampling": "all"}, {"rule": "median"}])
def test_options_that_cannot_be_are_refused_by_name(wrong: dict[str, object]) -> None:
    [name] = wrong
    with pytest.raises(ConfigError, match=f"video {name} is"):
        VideoOptions(**wrong)
