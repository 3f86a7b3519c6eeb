"""Bytes of a file in, an upright RGB frame out, or a reason why not.

Everything is judged from the header before a pixel is decoded: kind, bytes, pixels, sides. Each
unusual thing that was put right is a word in ``warnings``.
"""

from __future__ import annotations

import io
import struct
import warnings
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from lnclip.errors import ImageError

MAX_COMPRESSED_BYTES = 20_000_000
"""Of a JPEG, PNG, WebP, GIF or TIFF file."""

MAX_PIXELS = 50_000_000
MIN_SIDE_PX, MAX_SIDE_PX = 16, 16384

SIGNATURES = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"GIF87a": "GIF",
    b"GIF89a": "GIF",
    b"BM": "BMP",
    b"P5": "PPM",
    b"P6": "PPM",
    b"II*\x00": "TIFF",
    b"MM\x00*": "TIFF",
}
"""First bytes of the kinds that are read; WebP is RIFF....WEBP."""

UNCOMPRESSED = ("BMP", "PPM")
SIXTEEN_BIT = ("I;16", "I;16B", "I;16L", "I;16N", "I")
"""PIL's modes of 16-bit grey images; its own conversion to RGB saturates them."""


class Frame(NamedTuple):
    """One decoded image."""

    pixels: NDArray[np.uint8]
    """(H, W, 3) RGB, upright."""

    warnings: tuple[str, ...]
    """Words: exif_rotated, alpha_flattened, first_frame_of_animation, sixteen_bit, cmyk."""


def sniff(data: bytes) -> str | None:
    """The kind of image that these bytes begin, or None."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    return next((kind for signature, kind in SIGNATURES.items() if data.startswith(signature)), None)


def read_image(data: bytes, max_pixels: int = MAX_PIXELS) -> Frame:
    """Decode one image file.

    Args:
        data: the whole file.
        max_pixels: cap on width x height.

    Raises:
        ImageError: with code empty, not_an_image, too_many_bytes, too_many_pixels, bad_sides,
            truncated or damaged.
    """
    kind = sniff(data)
    if not data:
        raise ImageError("empty", "the file has no bytes")
    if kind is None:
        raise ImageError("not_an_image", "not a JPEG, PNG, WebP, GIF, BMP, TIFF or PPM file by its first bytes")
    limit = 3 * max_pixels + 4096 if kind in UNCOMPRESSED else MAX_COMPRESSED_BYTES
    if len(data) > limit:
        raise ImageError("too_many_bytes", f"{len(data):,} bytes; a {kind} may have {limit:,}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own cap is lower and applies to all
            with Image.open(io.BytesIO(data), formats=[kind]) as image:
                _check_size(image.size, max_pixels)
                return _upright_rgb(image)
    except Image.DecompressionBombError as error:
        raise ImageError("too_many_pixels", f"over the limit of {max_pixels:,}; make the image smaller") from error
    except UnidentifiedImageError as error:
        raise ImageError("damaged", f"begins like a {kind} but its header cannot be read") from error
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error) as error:
        code = "truncated" if "truncated" in str(error).lower() else "damaged"
        raise ImageError(code, f"the {kind} cannot be decoded to its end ({error})") from error


def _check_size(size: tuple[int, int], max_pixels: int) -> None:
    width, height = size
    if width * height > max_pixels:
        raise ImageError("too_many_pixels", f"{width} x {height}; at most {max_pixels:,} pixels are read")
    if min(size) < MIN_SIDE_PX or max(size) > MAX_SIDE_PX:
        raise ImageError("bad_sides", f"{width} x {height}; sides must be {MIN_SIDE_PX} to {MAX_SIDE_PX} pixels")


def _upright_rgb(image: Image.Image) -> Frame:
    """Decode the first frame, turn it as EXIF says, and flatten whatever is not 8-bit RGB."""
    unusual = {
        "first_frame_of_animation": getattr(image, "n_frames", 1) > 1,
        "sixteen_bit": image.mode in SIXTEEN_BIT,
        "cmyk": image.mode == "CMYK",
    }
    image.load()
    unusual["exif_rotated"] = image.getexif().get(0x0112, 1) in range(2, 9)
    # Turning and converting copy an image that needs neither: two fifths of the time that a JPEG takes.
    upright = ImageOps.exif_transpose(image) if unusual["exif_rotated"] else image
    if upright.mode in SIXTEEN_BIT:
        upright = _eight_bit(upright)
    if upright.has_transparency_data:
        rgba = upright.convert("RGBA")
        unusual["alpha_flattened"] = bool((np.asarray(rgba)[..., 3] < 255).any())
        upright = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
    pixels = np.asarray(upright if upright.mode == "RGB" else upright.convert("RGB"))
    return Frame(pixels, tuple(word for word, holds in unusual.items() if holds))


def _eight_bit(image: Image.Image) -> Image.Image:
    """16-bit grey to 8-bit by its high byte."""
    values = np.asarray(image).astype(np.int64)
    return Image.fromarray((np.clip(values, 0, 65535) >> 8).astype(np.uint8))
