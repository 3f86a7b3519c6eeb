"""Videos for the tests, written by PyAV's own encoders."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np


def write_clip(
    path: Path,
    frames: Iterable[np.ndarray],
    codec: str = "libx264",
    *,
    pixel_format: str = "yuv420p",
    turned: tuple[int, bool, bool] | None = None,
    pixel_aspect: Fraction | None = None,
    times: Sequence[int] | None = None,
    options: dict[str, str] | None = None,
    codec_options: dict[str, str] | None = None,
) -> Path:
    """RGB or RGBA frames of one size as a video.

    ``turned``: degrees counter-clockwise, then mirrored left and right, top and bottom, by the player.
    ``times``: time stamps in hundredths of a second.
    """
    with av.open(str(path), "w", options=options or {}) as container:
        stream = None
        for number, pixels in enumerate(frames):
            if stream is None:
                stream = container.add_stream(codec, rate=25)
                stream.height, stream.width = pixels.shape[:2]
                stream.pix_fmt = pixel_format
                stream.codec_context.gop_size, stream.codec_context.bit_rate = 10, 8_000_000
                if times:
                    stream.codec_context.time_base = Fraction(1, 100)
                stream.codec_context.options = codec_options or {}
                if turned:
                    stream.set_display_rotation(*turned)
                if pixel_aspect:
                    stream.codec_context.sample_aspect_ratio = pixel_aspect
            kind = "rgba" if pixels.shape[2] == 4 else "rgb24"
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format=kind)
            if times:
                frame.pts, frame.time_base = times[number], Fraction(1, 100)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def write_sound(path: Path) -> Path:
    """A file with sound alone."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        for number in range(20):
            frame = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), format="fltp", layout="stereo")
            frame.sample_rate, frame.pts = 44100, number * 1024
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def shade(number: int, height: int = 48, width: int = 64) -> np.ndarray:
    """A grey frame whose level tells its number: 8 levels each, which no codec blurs into the next."""
    return np.full((height, width, 3), 8 * number, np.uint8)


def number_of(pixels: np.ndarray) -> int:
    """The number of such a frame, decoded."""
    return round(float(pixels.mean()) / 8)


def moving(face: np.ndarray, num_frames: int, without: tuple[int, ...] = ()) -> list[np.ndarray]:
    """The face going down, black frames where it is without."""
    return [np.roll(face, 2 * n, 0) if n not in without else np.zeros_like(face) for n in range(num_frames)]
