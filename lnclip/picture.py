"""Pixels of a decoded video frame as a player shows them: upright, unmirrored, with square pixels, opaque.

Not done: woven fields of interlaced video stay woven, and colours of wide range are not mapped to the usual one.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np
from av.sidedata.sidedata import Type as SideDataType
from numpy.typing import NDArray

from lnclip.errors import ImageError
from lnclip.intake import MAX_PIXELS, MAX_SIDE_PX, MIN_SIDE_PX

Pixels = NDArray[np.uint8]

NEARLY_SQUARE = 1.05
"""Pixels whose sides differ by less are taken as square: resampling would cost more detail than it mends."""

LONGEST_PIXEL = 4
"""A file that says its pixels are longer than that is not believed."""

Orientation = tuple[bool, bool, bool]
"""Whether to transpose, then to mirror left and right, then to mirror top and bottom."""

TURNS: tuple[Orientation, ...] = (
    (False, False, False),
    (True, False, True),
    (False, True, True),
    (True, True, False),
)
"""By quarter turns counter-clockwise."""


@dataclass(frozen=True, kw_only=True)
class Frame:
    """A decoded frame, not yet converted."""

    picture: av.VideoFrame
    pixel_aspect: Fraction
    """Width of a pixel in heights, as the file says."""

    start_s: float
    """When it is shown, from the beginning of the file."""

    end_s: float
    """When the next one is; of the last one, by its own duration."""

    @property
    def is_corrupt(self) -> bool:
        """It was decoded in part."""
        return bool(self.picture.is_corrupt)

    @property
    def unusual(self) -> tuple[str, ...]:
        """Words for what ``upright`` puts right, and ``interlaced``."""
        words = {
            "rotated": _orientation(self.picture) != TURNS[0],
            "pixels_not_square": _stretch(self.pixel_aspect) != 1,
            "alpha_flattened": _has_alpha(self.picture),
            "interlaced": self.picture.interlaced_frame,
        }
        return tuple(word for word, holds in words.items() if holds)


def upright(frame: Frame) -> Pixels:
    """(H, W, 3) RGB; what is transparent lies over white, and of pixels that are not square the short side grows.

    Raises:
        ImageError: a side is too short or too long, there are too many pixels, or FFmpeg cannot convert them.
    """
    picture, stretch = frame.picture, _stretch(frame.pixel_aspect)
    width, height = round(picture.width * max(stretch, 1)), round(picture.height / min(stretch, 1))
    if width * height > MAX_PIXELS:
        raise ImageError("too_many_pixels", f"{width} x {height}; at most {MAX_PIXELS:,} pixels are read")
    if min(width, height) < MIN_SIDE_PX or max(width, height) > MAX_SIDE_PX:
        raise ImageError("bad_sides", f"{width} x {height}; sides must be {MIN_SIDE_PX} to {MAX_SIDE_PX} pixels")
    has_alpha = _has_alpha(picture)
    try:
        pixels = picture.to_ndarray(format="rgba" if has_alpha else "rgb24", width=width, height=height)
    except (av.FFmpegError, ValueError) as error:
        raise ImageError("damaged", f"pixels of the kind {picture.format.name} cannot be converted") from error
    if has_alpha:
        alpha = pixels[..., 3:].astype(np.uint16)
        pixels = (pixels[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255
    is_transposed, left_right, top_bottom = _orientation(picture)
    turned = pixels.swapaxes(0, 1) if is_transposed else pixels
    return np.ascontiguousarray(turned[:: -1 if top_bottom else 1, :: -1 if left_right else 1], np.uint8)


def _orientation(picture: av.VideoFrame) -> Orientation:
    """To the nearest quarter turn.

    Source: FFmpeg's libavutil/display.h: the nine words are a b u c d v x y w; x' = a x + c y, y' = b x + d y.
    """
    try:
        matrix = picture.side_data.get(SideDataType.DISPLAYMATRIX)
    except ValueError:  # beside it lies side data of a kind that PyAV does not know
        return TURNS[round(picture.rotation / 90) % 4]
    if matrix is None:
        return TURNS[0]
    a, b, _, c, d = np.frombuffer(bytes(matrix), np.int32)[:5].tolist()
    return (False, a < 0, d < 0) if abs(a) >= abs(b) else (True, c < 0, b < 0)


def _stretch(aspect: Fraction) -> Fraction:
    """The aspect to mend: 1 for what is nearly square, or beyond belief."""
    longer = max(aspect, 1 / aspect)
    return aspect if NEARLY_SQUARE <= longer <= LONGEST_PIXEL else Fraction(1)


def _has_alpha(picture: av.VideoFrame) -> bool:
    return any(component.is_alpha for component in picture.format.components)
