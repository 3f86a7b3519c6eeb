import contextlib
import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from lnclip.errors import ImageError
from lnclip.intake import read_image
from tests.conftest import encoded, jpeg

GRADIENT = np.indices((48, 64)).sum(axis=0).astype(np.uint8)
COLOURS = np.stack([GRADIENT, 2 * GRADIENT, 255 - GRADIENT], axis=2)


def png_header(width: int, height: int) -> bytes:
    """A PNG that declares a size and holds no pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))


def bomb(side: int) -> bytes:
    """A valid PNG of a few kilobytes that declares side x side pixels."""
    file = io.BytesIO()
    Image.new("1", (side, side)).save(file, "PNG")
    return file.getvalue()


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM"])
def test_lossless_kinds_come_back_exactly(kind):
    frame = read_image(encoded(COLOURS, kind))
    np.testing.assert_array_equal(frame.pixels, COLOURS)
    assert frame.warnings == ()


def test_webp_lossless():
    np.testing.assert_array_equal(read_image(encoded(COLOURS, "WEBP", lossless=True)).pixels, COLOURS)


def test_a_progressive_jpeg_reads_like_a_baseline_one():
    assert np.abs(read_image(jpeg(COLOURS, progressive=True)).pixels - read_image(jpeg(COLOURS)).pixels).max() == 0


def test_an_upright_rgb_image_is_not_copied(monkeypatch: pytest.MonkeyPatch):
    plain = jpeg(COLOURS)
    expected = np.asarray(Image.open(io.BytesIO(plain)))
    monkeypatch.setattr(Image.Image, "copy", None)
    np.testing.assert_array_equal(read_image(plain).pixels, expected)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_and_reported(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    # Where the stored top-left corner belongs: TIFF 6.0, tag Orientation.
    turns = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.swapaxes(0, 1),
        6: lambda a: np.rot90(a, 1),
        7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
        8: lambda a: np.rot90(a, -1),
    }
    frame = read_image(encoded(np.ascontiguousarray(turns[orientation](COLOURS)), "PNG", exif=exif))
    np.testing.assert_array_equal(frame.pixels, COLOURS)
    assert frame.warnings == (("exif_rotated",) if orientation > 1 else ())


def test_sixteen_bit_grey_keeps_its_tones():
    frame = read_image(saved(Image.fromarray(GRADIENT.astype(np.uint16) * 256), "PNG"))
    np.testing.assert_array_equal(frame.pixels, np.stack([GRADIENT] * 3, axis=2))
    assert frame.warnings == ("sixteen_bit",)


def test_cmyk_is_converted_and_reported():
    frame = read_image(saved(Image.fromarray(COLOURS).convert("CMYK"), "JPEG", quality=95))
    assert np.abs(frame.pixels.astype(int) - COLOURS).mean() < 5
    assert frame.warnings == ("cmyk",)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_transparency_is_laid_over_white(mode):
    image = Image.fromarray(GRADIENT).convert("RGBA")
    image.putalpha(Image.fromarray(np.where(GRADIENT > 50, 255, 0).astype(np.uint8)))
    frame = read_image(saved(image.convert("LA") if mode == "LA" else image, "PNG"))
    expected = np.where(GRADIENT > 50, GRADIENT, 255)
    np.testing.assert_array_equal(frame.pixels[..., 0], expected)
    assert frame.warnings == ("alpha_flattened",)


def test_opaque_alpha_is_not_worth_a_word():
    assert read_image(saved(Image.fromarray(COLOURS).convert("RGBA"), "PNG")).warnings == ()


def test_palette_images_are_converted():
    image = Image.fromarray(COLOURS).quantize(16)
    np.testing.assert_array_equal(read_image(saved(image, "PNG")).pixels, np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_the_first_frame_of_an_animation_is_read(kind):
    frames = [Image.fromarray(np.full((48, 64, 3), value, np.uint8)) for value in (0, 255)]
    frame = read_image(saved(frames[0], kind, save_all=True, append_images=frames[1:], lossless=True))
    assert frame.pixels.max() == 0
    assert frame.warnings == ("first_frame_of_animation",)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
def test_half_a_file_is_an_error_never_half_a_picture(kind, share):
    whole = encoded(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8), kind)
    with pytest.raises(ImageError) as caught:
        read_image(whole[: max(12, int(len(whole) * share))])
    assert caught.value.code in {"truncated", "damaged", "not_an_image"}


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "empty"),
        (b"hello, I am text", "not_an_image"),
        (b"\x89PNG\r\n\x1a\n", "damaged"),
        (b"\xff\xd8\xff" + b"rubbish" * 9, "damaged"),
        (png_header(14000, 14000), "damaged"),  # nothing behind its header
        (bomb(14000), "too_many_pixels"),
        (bomb(8000), "too_many_pixels"),
        (encoded(np.zeros((1, 1, 3), np.uint8), "PNG"), "bad_sides"),
        (encoded(np.zeros((8, 16384, 3), np.uint8), "PNG"), "bad_sides"),
        (encoded(np.zeros((20, 16400, 3), np.uint8), "PNG"), "bad_sides"),
        (b"\xff\xd8\xff" + bytes(20_000_000), "too_many_bytes"),
        (b"BM" + bytes(151_000_000), "too_many_bytes"),
    ],
    ids=lambda value: value if isinstance(value, str) else f"{len(value)}_bytes",
)
def test_bad_input_has_its_code(data, code):
    with pytest.raises(ImageError) as caught:
        read_image(data)
    assert caught.value.code == code
    assert str(caught.value).startswith(f"{code}: ")


def test_the_pixel_cap_can_be_lowered():
    with pytest.raises(ImageError, match="64 x 48"):
        read_image(encoded(COLOURS, "PNG"), max_pixels=1000)


def test_no_damage_escapes_as_another_exception(astronaut):
    """Bytes changed at random: either it decodes or it is an ImageError."""
    rng = np.random.default_rng(0)
    for kind in ("JPEG", "PNG", "GIF", "TIFF", "WEBP", "BMP"):
        whole = encoded(astronaut[:96, :96], kind)
        for _ in range(60):
            data = bytearray(whole)
            for position in rng.integers(8, len(data), 4):
                data[position] = rng.integers(256)
            with contextlib.suppress(ImageError):
                read_image(bytes(data))
