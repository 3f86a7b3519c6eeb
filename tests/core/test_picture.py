from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from lnclip.errors import ImageError
from lnclip.picture import upright
from lnclip.video import Video
from tests.clips import write_clip


def decoded(path: Path) -> list[np.ndarray]:
    return [upright(frame) for frame in Video(path).frames()]


def test_odd_sides_are_kept(tmp_path, astronaut):
    path = write_clip(tmp_path / "a.mkv", [astronaut[:101, :75]], "ffv1", pixel_format="bgr0")
    np.testing.assert_array_equal(decoded(path), [astronaut[:101, :75]])


@pytest.mark.parametrize("rotation", [90, -90, 180])
def test_frames_are_turned_as_a_player_turns_them(tmp_path, astronaut, rotation):
    """OpenCV reads the same file, and turns it by its own code."""
    path = write_clip(tmp_path / "a.mp4", [astronaut[:256]] * 3, turned=(rotation, False, False))
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


def test_frames_of_senseless_size_are_refused(tmp_path):
    path = write_clip(tmp_path / "a.mkv", [np.zeros((8, 64, 3), np.uint8)], "ffv1", pixel_format="bgr0")
    with pytest.raises(ImageError, match="bad_sides"):
        decoded(path)


@pytest.mark.parametrize("quarters", range(4))
@pytest.mark.parametrize("left_right", [False, True])
@pytest.mark.parametrize("top_bottom", [False, True])
def test_all_eight_orientations_are_put_right(tmp_path, astronaut, quarters, left_right, top_bottom):
    """Selfies are mirrored by a matrix whose rotation, read alone, would stand them on their heads."""
    stored = astronaut[:64, 180:276]
    path = write_clip(
        tmp_path / "a.mov", [stored], "png", pixel_format="rgb24", turned=(90 * quarters, left_right, top_bottom)
    )
    by_hand = np.rot90(stored, quarters)
    by_hand = by_hand[:, ::-1] if left_right else by_hand
    by_hand = by_hand[::-1] if top_bottom else by_hand
    [frame] = Video(path).frames()
    np.testing.assert_array_equal(upright(frame), by_hand)
    is_as_stored = (quarters, left_right, top_bottom) in {(0, False, False), (2, True, True)}
    assert frame.unusual == (() if is_as_stored else ("rotated",))


@pytest.mark.parametrize(("stored", "aspect"), [((192, 256), Fraction(4, 3)), ((256, 128), Fraction(1, 2))])
def test_pixels_that_are_not_square_are_stretched(tmp_path, astronaut, stored, aspect):
    face = astronaut[:256, 100:356]
    squeezed = np.asarray(Image.fromarray(face).resize(stored, Image.Resampling.BICUBIC))
    path = write_clip(tmp_path / "a.mov", [squeezed], "png", pixel_format="rgb24", pixel_aspect=aspect)
    [frame] = Video(path).frames()
    assert frame.unusual == ("pixels_not_square",)
    assert upright(frame).shape == face.shape
    assert np.abs(upright(frame).astype(int) - face).mean() < 5


@pytest.mark.parametrize("aspect", [Fraction(50, 49), Fraction(8)])
def test_pixels_that_are_nearly_square_or_beyond_belief_are_left_alone(tmp_path, astronaut, aspect):
    path = write_clip(tmp_path / "a.mov", [astronaut[:64, :64]], "png", pixel_format="rgb24", pixel_aspect=aspect)
    [frame] = Video(path).frames()
    assert frame.pixel_aspect == aspect
    assert not frame.unusual
    np.testing.assert_array_equal(upright(frame), astronaut[:64, :64])


def test_what_is_transparent_lies_over_white(tmp_path):
    """200 at an opacity of 128: 255 - 55 * 128 / 255 = 227.4."""
    pixels = np.zeros((16, 48, 4), np.uint8)
    pixels[:, :16], pixels[:, 16:32], pixels[:, 32:] = (200, 10, 0, 255), (200, 10, 0, 0), (200, 200, 200, 128)
    [frame] = Video(write_clip(tmp_path / "a.mov", [pixels], "png", pixel_format="rgba")).frames()
    assert frame.unusual == ("alpha_flattened",)
    assert upright(frame)[0, ::16].tolist() == [[200, 10, 0], [255, 255, 255], [227, 227, 227]]


@pytest.mark.parametrize("pixel_format", ["gray", "gray16le", "yuv444p10le", "yuv422p", "bgra"])
def test_odd_pixel_formats_look_like_the_usual(tmp_path, astronaut, pixel_format):
    face = astronaut[:128, 160:288]
    [pixels] = decoded(write_clip(tmp_path / "a.mkv", [face], "ffv1", pixel_format=pixel_format))
    luma = face @ [0.299, 0.587, 0.114]
    assert np.abs(pixels @ [0.299, 0.587, 0.114] - luma).mean() < 2
    if "gray" not in pixel_format:
        assert np.abs(pixels.astype(int) - face).mean() < 4


def test_interlaced_frames_are_named_and_left_woven(tmp_path, astronaut):
    path = write_clip(tmp_path / "a.mpg", [astronaut] * 3, "mpeg2video", codec_options={"flags": "+ildct+ilme"})
    frames = list(Video(path).frames())
    assert {frame.unusual for frame in frames} == {("interlaced",)}
    assert np.abs(upright(frames[0]).astype(int) - astronaut).mean() < 8
