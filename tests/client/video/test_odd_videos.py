"""Videos with an end that is missing, with one frame, with none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lnclip.errors import ImageError
from lnclip.video import Video
from tests.client.video.faces import face
from tests.client.video.stand_in import score, shades, suspicious
from tests.clips import shade, write_clip, write_sound


@pytest.mark.parametrize(("name", "codec"), [("a.avi", "mjpeg"), ("a.mkv", "libx264"), ("a.mp4", "libx264")])
@pytest.mark.parametrize("sampling", ["uniform", "spread"])
def test_a_broken_tail_is_scored_as_far_as_it_goes(tmp_path: Path, name: str, codec: str, sampling: str) -> None:
    """Spread over what there is, not over what there should be."""
    noise = np.random.default_rng(0).integers(0, 256, (40, 48, 64, 3), dtype=np.uint8)
    formats = {"pixel_format": "yuvj420p"} if codec == "mjpeg" else {}
    clip = write_clip(
        tmp_path / name, noise, codec, options={"movflags": "faststart"} if "mp4" in name else {}, **formats
    )
    clip.write_bytes(clip.read_bytes()[: int(clip.stat().st_size * 0.6)])
    num_frames = len(list(Video(clip).frames()))
    assert 15 < num_frames < 30
    answer, server = score(clip, lambda _: [face(0, 0.5)], sampling=sampling, frames=3)
    expected = np.linspace(0, num_frames - 1, 3).astype(int).tolist()
    assert [frame.index for frame in answer.frames] == (
        expected if sampling == "uniform" else [0, num_frames // 2, num_frames - 1]
    )
    assert answer.warnings == ("broken_tail",)
    assert len(server.sent) <= 5  # those that are wanted again are not sent again


def test_one_frame_is_a_video(tmp_path: Path) -> None:
    answer, _ = score(shades(tmp_path / "a.mp4", 1), suspicious(0))
    assert (answer.verdict, answer.p_fake, answer.num_faces) == ("fake", 0.9, 1)
    assert answer.segment is not None
    assert (answer.segment.start_s, answer.segment.end_s) == (0, 0.04)


def test_what_has_no_frames_is_refused_with_a_reason(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("This is no video.\n" * 100)
    write_sound(tmp_path / "sound.mp4")
    headless = write_clip(tmp_path / "spoilt.avi", [shade(3)] * 3, "ffv1", pixel_format="bgr0")
    data = bytearray(headless.read_bytes())
    begin, end = data.index(b"movi") + 4, data.index(b"idx1")
    for chunk in range(begin, end - 64):
        if data[chunk : chunk + 4] == b"00dc":
            data[chunk + 8 : chunk + 40] = b"\xff" * 32
    headless.write_bytes(data)
    for name, code in [
        ("empty", "empty"),
        ("text", "not_a_video"),
        ("sound", "no_video_stream"),
        ("gone", "unreadable"),
    ]:
        with pytest.raises(ImageError) as caught:
            score(tmp_path / f"{name}.mp4")
        assert caught.value.code == code
    with pytest.raises(ImageError, match="no_frames: no frame can be decoded"):
        score(headless)
