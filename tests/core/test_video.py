from pathlib import Path

import numpy as np
import pytest

from lnclip.errors import ImageError
from lnclip.picture import upright
from lnclip.video import Video
from tests.clips import number_of, shade, write_clip, write_sound

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
    shown = [(frame.start_s, frame.end_s) for frame in Video(path).frames()]
    np.testing.assert_allclose([start_s for start_s, _ in shown], np.array(times) / 100, atol=1e-3)
    np.testing.assert_allclose([end_s for _, end_s in shown[:-1]], np.array(times[1:]) / 100, atol=1e-3)


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


@pytest.mark.parametrize("name", ["raw.h264", "b_frames.avi", "begins_late.ts", "usual.mp4", "a.mkv"])
def test_times_begin_at_zero_and_rise_whatever_the_file_says(tmp_path, name):
    """A raw stream has no time stamps, AVI wrong ones, and a transport stream begins in the middle."""
    path = write_clip(tmp_path / name, map(shade, range(NUM)))
    frames = list(Video(path).frames())
    starts = np.array([frame.start_s for frame in frames])
    assert [frame.end_s for frame in frames[:-1]] == starts[1:].tolist()
    assert (np.diff(starts) > 0).all()
    assert frames[-1].end_s - frames[-1].start_s == pytest.approx(0.04, abs=1e-3)
    reordered = 3 * 0.04 if name.endswith(".avi") else 1e-3
    np.testing.assert_allclose(starts, np.arange(NUM) / 25, atol=reordered)


@pytest.mark.parametrize("name", ["a.mkv", "a.ts", "a.mp4", "a.avi", "a.h264"])
def test_a_tail_that_is_missing_is_noticed(tmp_path, name):
    noise = np.random.default_rng(0).integers(0, 256, (2 * NUM, 48, 64, 3), dtype=np.uint8)
    path = write_clip(tmp_path / name, noise, options={"movflags": "faststart"} if name == "a.mp4" else None)
    for share, is_cut_off in ((1, False), (0.6, True)):
        path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
        video = Video(path)
        assert NUM / 2 < len(list(video.frames())) <= 2 * NUM
        assert video.is_cut_off == is_cut_off


def test_damage_before_the_end_is_no_missing_tail(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (NUM, 48, 64, 3), dtype=np.uint8)
    path = write_clip(tmp_path / "a.avi", noise, "mpeg4")
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 40] = bytes(40)
    path.write_bytes(data)
    video = Video(path)
    assert any(frame.is_corrupt for frame in video.frames())
    assert not video.is_cut_off


@pytest.mark.parametrize("name", ["http:a.mp4", "concat:a.mp4", "a%02d.mp4", "\udcff.mp4"])
def test_no_file_name_is_taken_for_an_address(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    write_clip(tmp_path / "plain.mp4", [shade(0)] * 3).rename(name)
    assert Video(Path(name)).count_packets() == 3
