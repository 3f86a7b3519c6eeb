"""``--max-side``: what is sent in place of a large image, and where its faces lie in the original."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from client.answers import ImageAnswer
from client.backends.shrinking import shrink
from client.rows import Face
from lnclip.intake import read_image
from tests.conftest import encoded, jpeg

ROTATED_RIGHT = 6
"""EXIF orientation: stored turned a quarter to the left, shown turned back."""


def answer(box: tuple[float, float, float, float], points: tuple[tuple[float, float], ...]) -> ImageAnswer:
    face = Face(box=box, landmarks=points, score=0.9, p_fake=0.7, flags=("small",))
    return ImageAnswer("fake", 0.7, (face,), 640, 427, (), {"name": "m"})


def test_boxes_and_points_come_back_in_the_pixels_of_the_original() -> None:
    """1000 x 667 to 640 x 427: x grows by 1000 / 640 = 1.5625, y by 667 / 427."""
    shrunk = shrink(encoded(np.zeros((667, 1000, 3), np.uint8), "PNG"), 640)
    assert shrunk is not None
    assert (shrunk.size, shrunk.original_size, shrunk.scale) == ((640, 427), (1000, 667), 0.64)
    points = ((64.0, 42.7), (128.0, 85.4), (192.0, 128.1), (256.0, 170.8), (320.0, 213.5))
    large = shrunk.enlarge(answer((0.0, 0.0, 640.0, 427.0), points))
    assert (large.width, large.height) == (1000, 667)
    [face] = large.faces
    assert face.box == (0, 0, 1000, 667)
    assert face.landmarks == ((100, 66.7), (200, 133.4), (300, 200.1), (400, 266.8), (500, 333.5))
    assert (face.score, face.p_fake, face.flags) == (0.9, 0.7, ("small",))
    assert (large.verdict, large.p_fake, large.model) == ("fake", 0.7, {"name": "m"})


def test_every_small_pixel_is_the_mean_of_what_it_covers() -> None:
    """Single columns of black and white alias to either without antialiasing."""
    stripes = np.zeros((400, 1600, 3), np.uint8)
    stripes[:, ::2] = 255
    shrunk = shrink(encoded(stripes, "PNG"), 400)
    assert shrunk is not None
    pixels = read_image(shrunk.image).pixels
    assert pixels.shape == (100, 400, 3)
    assert np.abs(pixels[:, 2:-2].astype(int) - 127).max() <= 3


def test_a_point_of_the_original_is_found_where_the_scale_says() -> None:
    """A white square at (600..640, 300..340) of 1280 x 720."""
    picture = np.zeros((720, 1280, 3), np.uint8)
    picture[300:340, 600:640] = 255
    shrunk = shrink(encoded(picture, "PNG"), 640)
    assert shrunk is not None
    rows, columns = np.nonzero(read_image(shrunk.image).pixels[..., 0] > 127)
    assert (columns.min(), columns.max() + 1, rows.min(), rows.max() + 1) == (300, 320, 150, 170)


def test_the_originals_warnings_are_kept(astronaut: np.ndarray) -> None:
    exif = Image.Exif()
    exif[0x0112] = ROTATED_RIGHT
    turned = np.ascontiguousarray(np.rot90(astronaut[:, :400]))
    shrunk = shrink(jpeg(turned, exif=exif), 256)
    assert shrunk is not None
    assert (shrunk.original_size, shrunk.size) == ((400, 512), (200, 256))
    upright = np.asarray(Image.fromarray(astronaut[:, :400]).resize((200, 256), Image.Resampling.BICUBIC))
    difference = read_image(shrunk.image).pixels.astype(int) - upright
    assert np.abs(difference).mean() < 3  # JPEG
    points = ((1.0, 1.0),) * 5
    assert shrunk.enlarge(answer((0, 0, 1, 1), points)).warnings == ("exif_rotated",)


@pytest.mark.parametrize(
    ("size", "max_side"), [((640, 480), 640), ((640, 480), 4000), ((4000, 40), 640)], ids=["equal", "small", "narrow"]
)
def test_what_needs_no_shrinking_or_bears_none_is_sent_as_it_is(size: tuple[int, int], max_side: int) -> None:
    file = io.BytesIO()
    Image.new("RGB", size).save(file, "PNG")
    assert shrink(file.getvalue(), max_side) is None


@pytest.mark.parametrize("content", [b"", b"no picture", b"\xff\xd8\xff but no more"])
def test_the_server_says_what_is_wrong_with_a_bad_file(content: bytes) -> None:
    assert shrink(content, 640) is None


def test_one_of_too_many_pixels_is_left_to_the_server() -> None:
    file = io.BytesIO()
    Image.new("1", (14000, 14000)).save(file, "PNG")
    assert shrink(file.getvalue(), 640) is None
