from __future__ import annotations

import io
import os
from pathlib import Path

import fsspec
import numpy as np
import pytest
from PIL import Image

from client.report import writing
from client.report.pictures import Picture, make_picture, make_pictures
from client.report.stills import still
from client.rows import VideoFrame
from lnclip.picture import upright
from lnclip.video import Video
from tests.client.report.made import data_of, face, faceless, failed, page_of, scored, video, write_clip
from tests.conftest import jpeg

LEVELS = [20 + 10 * n for n in range(20)]
"""Of a clip's frames: 10 grey levels apart, which no encoder blurs away."""


@pytest.fixture
def photo(tmp_path: Path, grace_hopper: np.ndarray) -> Path:
    path = tmp_path / "50%.jpg"
    path.write_bytes(jpeg(grace_hopper))
    return path


def opened(picture: object) -> Image.Image:
    assert isinstance(picture, Picture)
    return Image.open(io.BytesIO(picture.webp))


def grey(picture: object) -> float:
    return float(np.asarray(opened(picture)).mean())


def test_an_image_is_shrunk_and_keeps_its_boxes(photo: Path, grace_hopper: np.ndarray) -> None:
    row = scored(photo, face(0.9, (226, 150, 309, 320)))
    picture = make_picture(row)
    image = opened(picture)
    assert (picture.width, picture.height) == (512, 600)
    assert (image.format, image.size) == ("WEBP", (273, 320))
    assert len(picture.webp) < 20_000
    assert picture.faces == row.faces
    small = np.asarray(Image.fromarray(grace_hopper).resize(image.size), np.float64)
    assert np.abs(np.asarray(image, np.float64) - small).mean() < 6


def test_boxes_belong_to_the_upright_image(tmp_path: Path, grace_hopper: np.ndarray) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn it a quarter clockwise
    path = tmp_path / "turned.jpg"
    path.write_bytes(jpeg(grace_hopper, exif=exif))
    picture = make_picture(scored(path, 0.9))
    assert (picture.width, picture.height) == (600, 512)


def test_a_small_image_is_not_blown_up(tmp_path: Path) -> None:
    Image.new("RGB", (40, 30)).save(tmp_path / "small.png")
    assert opened(make_picture(scored(tmp_path / "small.png", 0.9))).size == (40, 30)


def test_gone_changed_and_unreadable_files_have_none(photo: Path, tmp_path: Path) -> None:
    row = scored(photo, 0.9)
    assert make_picture(scored(tmp_path / "gone.jpg", 0.9)) == "gone"
    assert make_picture(row.model_copy(update={"sha256": "ff" * 32})) == "changed"
    (tmp_path / "text.jpg").write_text("no image")
    assert make_picture(faceless(tmp_path / "text.jpg")) == "unreadable"
    photo.write_bytes(b"")
    assert make_picture(row) == "changed"


def test_a_video_shows_its_most_suspicious_frame(tmp_path: Path) -> None:
    row = video(write_clip(tmp_path / "clip.mp4", LEVELS), [0.1, None, 0.3, 0.2, 0.1, 0.2, 0.9, 0.3])
    picture = make_picture(row)
    assert (picture.time_s, picture.faces) == (pytest.approx(1.2), row.frames[6].faces)
    assert grey(picture) == pytest.approx(LEVELS[12], abs=3)


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv", "clip.h264"])
def test_jumping_finds_the_frame_that_was_scored(tmp_path: Path, name: str) -> None:
    """The raw stream has no time stamps to jump to."""
    path = write_clip(tmp_path / name, LEVELS)
    for index, frame in enumerate(Video(path).frames()):
        found = still(path, VideoFrame(index=index, time_s=frame.start_s, p_fake=0.5))
        np.testing.assert_array_equal(found, upright(frame))
        assert found.mean() == pytest.approx(LEVELS[index], abs=3)


def test_a_late_frame_is_not_reached_by_decoding_all_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_clip(tmp_path / "clip.mp4", LEVELS)
    monkeypatch.delattr(Video, "frames")
    assert still(path, VideoFrame(index=17, time_s=1.7, p_fake=0.5)).mean() == pytest.approx(LEVELS[17], abs=3)


def test_a_video_that_was_copied_is_known_by_its_content(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.mp4", LEVELS)
    row = video(path, [0.9])
    os.utime(path, ns=(1, 1))
    assert isinstance(make_picture(row), Picture)
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    assert make_picture(row) == "changed"
    path.write_bytes(b"short")
    assert make_picture(row) == "changed"
    path.unlink()
    assert make_picture(row) == "gone"


def test_a_video_that_cannot_be_decoded_has_none(tmp_path: Path) -> None:
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    assert make_picture(video(tmp_path / "broken.mp4", [0.9])) == "unreadable"
    path = write_clip(tmp_path / "clip.mp4", LEVELS[:2])
    beyond = VideoFrame(index=500, time_s=50.0, p_fake=0.9)
    assert make_picture(video(path, [], frames=(beyond,))) == "unreadable"
    assert make_picture(video(path, [], frames=())) == "unreadable"


def test_images_of_a_store_are_fetched_and_videos_are_not(photo: Path) -> None:
    with fsspec.open("memory://report/a.jpg", "wb") as file:
        file.write(photo.read_bytes())
    row = scored(photo, 0.9).model_copy(update={"path": "memory://report/a.jpg"})
    assert isinstance(make_picture(row), Picture)
    assert make_picture(row.model_copy(update={"path": "memory://report/none.jpg"})) == "gone"
    assert make_picture(video("memory://report/x.mp4", [0.9])) == "remote"


def test_pictures_come_in_the_order_of_the_rows(tmp_path: Path) -> None:
    rows = []
    for level in LEVELS:
        Image.new("RGB", (32, 32), (level,) * 3).save(tmp_path / f"{level}.png")
        rows.append(scored(tmp_path / f"{level}.png", 0.9))
    assert [round(grey(picture)) for picture in make_pictures(rows)] == pytest.approx(LEVELS, abs=2)


def test_the_most_suspicious_files_are_pictured_and_the_page_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "MAX_PICTURES", 3)
    for name in ("low", "high", "none"):
        Image.new("RGB", (32, 32)).save(tmp_path / f"{name}.png")
    rows = [
        failed(tmp_path / "error.png"),
        faceless(tmp_path / "none.png"),
        scored(tmp_path / "low.png", 0.2),
        scored(tmp_path / "gone.png", 0.8),
        scored(tmp_path / "high.png", 0.9),
        scored("x", 0.95).model_copy(update={"path": ""}),  # bytes without a file
    ]
    page = page_of(rows, tmp_path)
    assert sorted(data_of(page, "pictures")) == ["2", "4"]
    assert data_of(page, "summary")["pictures"] == {"shown": 2, "gone": 1}
