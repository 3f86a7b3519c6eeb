"""Through the real server: every kind of odd video has its row, and frames are those that training would cut."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from client import Row, ScoreOptions, Scorer
from client.video.options import VideoOptions
from lnclip.running import RunningServer
from lnclip.sampling import FrameChoice, Sampling
from tests.clips import moving, write_clip, write_sound
from training.data.preparation import prepare

pytestmark = pytest.mark.slow

SAME_CROP = 1e-6
"""p_fake of the same pixels in another batch."""


@pytest.fixture(scope="module")
def face(astronaut: np.ndarray) -> np.ndarray:
    """(256, 256, 3), the face in the middle."""
    return astronaut[:256, 100:356]


@pytest.fixture(scope="module")
def group(astronaut: np.ndarray, grace_hopper: np.ndarray) -> np.ndarray:
    """(256, 512, 3): two people."""
    pair = np.hstack([astronaut, grace_hopper[:512]])
    return np.asarray(Image.fromarray(pair).resize((512, 256), Image.Resampling.LANCZOS))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, face: np.ndarray, group: np.ndarray) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    write_clip(folder / "group.mp4", [np.roll(group, 3 * n, 1) for n in range(10)])
    write_clip(folder / "turned.mp4", [np.rot90(frame, -1) for frame in moving(face, 4)], turned=(90, False, False))
    write_clip(folder / "slow.mp4", moving(face, 4), times=[0, 10, 300, 310])
    write_clip(folder / "ten_bit.mkv", moving(face, 4), "ffv1", pixel_format="yuv444p10le")
    write_clip(folder / "grey.mkv", moving(face, 4), "ffv1", pixel_format="gray")
    write_clip(folder / "single.webm", [face], "libvpx-vp9")
    cut = write_clip(folder / "cut.avi", moving(face, 12), "mjpeg", pixel_format="yuvj420p")
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    write_clip(folder / "nobody.mp4", [np.zeros_like(face)] * 4)
    write_sound(folder / "sound.mp4")
    (folder / "empty.mp4").touch()
    return folder


def score(triton: RunningServer, path: Path, **options: object) -> dict[str, Row]:
    with Scorer(triton.grpc_url, ScoreOptions(video=VideoOptions(**options))) as scorer:
        return {Path(row.path).name: row for row in scorer.score_many([path])}


def test_every_video_has_its_row(triton: RunningServer, folder: Path) -> None:
    rows = score(triton, folder, frames=4)
    assert {
        name: (row.kind, row.status, row.num_faces, row.warnings) for name, row in rows.items() if not row.error
    } == {
        "group.mp4": ("video", "ok", 2, ()),
        "turned.mp4": ("video", "ok", 1, ("rotated",)),
        "slow.mp4": ("video", "ok", 1, ()),
        "ten_bit.mkv": ("video", "ok", 1, ()),
        "grey.mkv": ("video", "ok", 1, ()),
        "single.webm": ("video", "ok", 1, ()),
        "cut.avi": ("video", "ok", 1, ("broken_tail",)),
        "nobody.mp4": ("video", "no_face", 0, ()),
    }
    codes = {name: row.error.code for name, row in rows.items() if row.error}
    assert codes == {"sound.mp4": "no_video_stream", "empty.mp4": "empty"}
    for row in rows.values():
        assert (row.p_fake is None) == (row.status != "ok")
    group, slow = rows["group.mp4"], rows["slow.mp4"]
    assert group.tracks is not None
    assert group.p_fake == max(track.p_fake for track in group.tracks)
    assert [track.frames for track in group.tracks] == [(0, 3, 6, 9)] * 2
    assert slow.frames is not None
    assert [frame.time_s for frame in slow.frames] == pytest.approx([0, 0.1, 3, 3.1], abs=1e-3)


@pytest.mark.parametrize("sampling", ["uniform", "stride", "spread"])
def test_frames_and_faces_are_those_that_training_cuts(
    triton: RunningServer, repository: Path, tmp_path: Path, face: np.ndarray, sampling: Sampling
) -> None:
    """Each crop that ``prepare`` writes, sent as it is, has the p_fake of that frame's face."""
    clip = write_clip(tmp_path / "clip.mp4", moving(face, 12, without=(3, 11)), turned=(0, True, False))
    detector, choice = repository / "face_detector" / "1", FrameChoice(sampling=sampling, count=4, stride=3)
    summary = prepare([clip], "real", tmp_path / "out", detector, choice=choice)
    cut = {int(path.stem): path for path in (tmp_path / "out").rglob("*.png")}
    with Scorer(triton.grpc_url, ScoreOptions(crops=True)) as scorer:
        p_fake = {int(Path(row.path).stem): row.p_fake for row in scorer.score_many(cut.values())}
    row = score(triton, clip, sampling=sampling, frames=4, stride=3)["clip.mp4"]
    assert row.frames is not None
    scored = {frame.index: frame.faces[0].p_fake for frame in row.frames if frame.faces}
    assert len(cut) == {"uniform": 2, "stride": 3, "spread": 4}[sampling]
    assert summary.num_errors == 0
    assert scored == pytest.approx(p_fake, abs=SAME_CROP)
