from pathlib import Path

import cv2
import numpy as np
import pytest

from lnclip.errors import ImageError
from tests.training.data.clips import number_of, shade, write_clip, write_sound
from training.data.videos import Video, upright

NUM = 24


def decoded(path: Path) -> list[np.ndarray]:
    return [upright(frame) for frame in Video(path).frames()]


@pytest.mark.parametrize(
    ("name", "codec", "pixel_format"),
    [
        ("a.mp4", "libx264", "yuv420p"),
        ("b.mp4", "libx264", "yuv444p10le"),
        ("c.avi", "mpeg4", "yuv420p"),
        ("d.mkv", "ffv1", "gray"),
        ("e.mov", "prores_ks", "yuv422p10le"),
        ("f.avi", "mjpeg", "yuvj422p"),
        ("g.webm", "libvpx-vp9", "yuv420p"),
    ],
)
def test_every_frame_comes_once_and_in_order(tmp_path, name, codec, pixel_format):
    path = write_clip(tmp_path / name, map(shade, range(NUM)), codec, pixel_format=pixel_format)
    video = Video(path)
    assert video.count_packets() == NUM
    assert [number_of(upright(frame)) for frame in video.frames()] == list(range(NUM))
    assert not video.damage


def test_frames_of_varying_length_count_once_each(tmp_path):
    """Time stamps of 0 to 6 seconds: by time there would be 150 frames at 25 per second."""
    times = [number * number for number in range(NUM)]
    path = write_clip(tmp_path / "a.mp4", map(shade, range(NUM)), times=times)
    assert [number_of(pixels) for pixels in decoded(path)] == list(range(NUM))
    moments = [float(frame.pts * frame.time_base) for frame in Video(path).frames()]
    assert moments[-1] - moments[0] > 4


def test_odd_sides_are_kept(tmp_path, astronaut):
    path = write_clip(tmp_path / "a.mkv", [astronaut[:101, :75]], "ffv1", pixel_format="bgr0")
    np.testing.assert_array_equal(decoded(path), [astronaut[:101, :75]])


@pytest.mark.parametrize("rotation", [90, -90, 180])
def test_frames_are_turned_as_a_player_turns_them(tmp_path, astronaut, rotation):
    """OpenCV reads the same file, and turns it by its own code."""
    path = write_clip(tmp_path / "a.mp4", [astronaut[:256]] * 3, rotation=rotation)
    [pixels, *_] = decoded(path)
    assert pixels.shape == ((256, 512, 3) if rotation == 180 else (512, 256, 3))
    capture = cv2.VideoCapture(str(path))
    capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)
    is_read, by_opencv = capture.read()
    assert is_read
    difference = np.abs(pixels.astype(int) - by_opencv[..., ::-1])
    assert difference.mean() < 2  # colour conversions round differently
    by_hand = np.rot90(astronaut[:256], {90: 1, -90: -1, 180: 2}[rotation])
    assert np.abs(pixels.astype(int) - by_hand).mean() < 8  # compressed


def test_a_file_that_was_cut_off_gives_the_frames_that_it_has(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (NUM, 48, 64, 3), dtype=np.uint8)
    path = write_clip(tmp_path / "a.avi", noise, "mpeg4")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    video = Video(path)
    assert 0 < video.count_packets() < NUM
    assert video.num_declared == NUM
    frames = [upright(frame) for frame in video.frames()]
    assert 0 < len(frames) < NUM
    again = decoded(path)
    np.testing.assert_array_equal(frames, again)


def test_damage_in_the_middle_is_told(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (NUM, 48, 64, 3), dtype=np.uint8)
    path = write_clip(tmp_path / "a.avi", noise, "ffv1", pixel_format="bgr0")
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 30_000] = bytes(30_000)
    path.write_bytes(data)
    video = Video(path)
    num_whole = sum(not frame.is_corrupt for frame in video.frames())
    assert 5 < num_whole < NUM


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("empty.mp4", b"", "empty"),
        ("text.mp4", b"This is no video.\n" * 100, "not_a_video"),
        ("half.mp4", b"\x00\x00\x00\x20ftypisom\x00\x00\x02\x00isomiso2avc1mp41", "not_a_video"),
    ],
)
def test_what_is_no_video_is_refused_with_its_code(tmp_path, name, content, code):
    (tmp_path / name).write_bytes(content)
    for read in (lambda video: video.count_packets(), lambda video: list(video.frames())):
        with pytest.raises(ImageError) as caught:
            read(Video(tmp_path / name))
        assert caught.value.code == code


def test_a_file_without_pictures_or_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ImageError, match="no_video_stream"):
        Video(write_sound(tmp_path / "sound.mp4")).count_packets()
    with pytest.raises(ImageError, match="unreadable: No such file"):
        Video(tmp_path / "gone.mp4").count_packets()


def test_frames_of_senseless_size_are_refused(tmp_path):
    path = write_clip(tmp_path / "a.mkv", [np.zeros((8, 64, 3), np.uint8)], "ffv1", pixel_format="bgr0")
    with pytest.raises(ImageError, match="bad_sides"):
        decoded(path)
