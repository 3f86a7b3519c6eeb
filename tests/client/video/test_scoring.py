"""One answer from the frames of a video."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from client.rows import Face
from lnclip.errors import EngineError
from lnclip.picture import upright
from lnclip.video import Video
from tests.client.video.faces import face
from tests.client.video.stand_in import MODEL, score, shades, suspicious
from tests.clips import write_clip


def test_the_worst_part_is_told_by_its_times(tmp_path: Path) -> None:
    """Frames of 0.04 s; the fake ones from 8 to 11 are shown from 0.32 to 0.48 s."""
    answer, _ = score(shades(tmp_path / "a.mp4"), suspicious(8, 9, 10, 11))
    assert (answer.verdict, answer.num_faces, answer.width, answer.height) == ("real", 1, 64, 48)
    assert answer.p_fake == pytest.approx((4 * 0.9 + 20 * 0.1) / 24)
    assert [frame.index for frame in answer.frames] == list(range(24))
    assert [frame.time_s for frame in answer.frames] == pytest.approx([n / 25 for n in range(24)])
    assert [track.frames for track in answer.tracks] == [tuple(range(24))]
    assert answer.segment is not None
    assert (answer.segment.start_s, answer.segment.end_s) == pytest.approx((0.32, 0.48))
    assert answer.segment.p_fake == pytest.approx(0.9)
    assert (answer.warnings, answer.model) == ((), MODEL)


def test_times_of_frames_of_varying_length_are_their_own(tmp_path: Path) -> None:
    """Hundredths of a second; the last frame is shown as long as the one before it."""
    clip = shades(tmp_path / "a.mp4", 5, times=[0, 10, 50, 60, 200])
    answer, _ = score(clip, suspicious(1, 2))
    assert [frame.time_s for frame in answer.frames] == pytest.approx([0, 0.1, 0.5, 0.6, 2], abs=1e-3)
    assert answer.segment is not None
    assert (answer.segment.start_s, answer.segment.end_s) == pytest.approx((0.1, 0.6), abs=1e-3)
    answer, _ = score(clip, suspicious(4))
    assert answer.segment is not None
    assert 2 < answer.segment.end_s < 4


@pytest.mark.parametrize(
    ("options", "indices"),
    [
        ({"frames": 4}, [0, 7, 15, 23]),
        ({"sampling": "stride", "stride": 5, "frames": 3}, [5, 10, 15]),
        ({"sampling": "stride", "stride": 5, "frames": 99}, [5, 10, 15, 20]),
        ({"sampling": "spread", "frames": 5}, [12, 14, 17, 20, 23]),  # the order is 12, 0, 23, 6, 17, 3, 9, 20, 14
    ],
)
def test_samplings_take_the_frames_that_training_takes(
    tmp_path: Path, options: dict[str, object], indices: list[int]
) -> None:
    """The first five frames and 6 to 10 but 5 and 10 show nobody. uniform keeps such frames, without a number."""
    nobody = {0, 1, 2, 3, 4, 6, 7, 8, 9}
    clip = shades(tmp_path / "a.mp4")

    def faces(number: int) -> list[Face]:
        return [] if number in nobody else [face(0, 0.5)]

    answer, _ = score(clip, faces, **options)
    assert [frame.index for frame in answer.frames] == indices
    assert [frame.index for frame in answer.frames if frame.p_fake is None] == [n for n in indices if n in nobody]
    assert answer.p_fake == 0.5


@pytest.mark.parametrize("sampling", ["uniform", "stride", "spread"])
def test_nobody_in_any_frame_is_no_number(tmp_path: Path, sampling: str) -> None:
    answer, server = score(shades(tmp_path / "a.mp4"), lambda _: [], sampling=sampling, frames=4, stride=6)
    assert (answer.verdict, answer.p_fake, answer.num_faces, answer.segment) == ("no_face", None, 0, None)
    assert answer.tracks == ()
    assert len(server.sent) == {"uniform": 4, "stride": 4, "spread": 24}[sampling]
    assert len(answer.frames) == (4 if sampling == "uniform" else 0)


def test_the_pixels_sent_are_those_that_training_cuts_faces_from(tmp_path: Path, astronaut: np.ndarray) -> None:
    clip = write_clip(tmp_path / "a.mp4", [np.roll(astronaut, 9 * n, 1) for n in range(6)], turned=(90, True, False))
    answer, server = score(clip, lambda _: [face(0, 0.5)], frames=3)
    frames = list(Video(clip).frames())
    assert answer.warnings == ("rotated",)
    chosen = [frames[frame.index] for frame in answer.frames]
    assert len(server.sent) == len(chosen) == 3
    for sent, frame in zip(server.sent, chosen, strict=True):
        np.testing.assert_array_equal(sent, upright(frame))


def test_a_threshold_that_is_no_number_is_no_verdict(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="threshold is None"):
        score(shades(tmp_path / "a.mp4"), model=lambda _: {"artifact_id": "a"})
