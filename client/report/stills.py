"""One frame of a video, for looking at: found by jumping, for the most suspicious second may lie far in."""

from __future__ import annotations

from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import numpy as np
from av.stream import Disposition
from numpy.typing import NDArray

from client.rows import VideoFrame
from lnclip.errors import ImageError
from lnclip.picture import Frame, upright
from lnclip.video import Video

NEARLY_S = 0.002
"""Times that differ by less are the same frame's: rows round them."""


def still(path: Path, wanted: VideoFrame) -> NDArray[np.uint8]:
    """The pixels of a frame that was scored, (H, W, 3) RGB, upright.

    Raises:
        ImageError: it cannot be decoded.
    """
    frame = _by_jumping(path, wanted.time_s)
    if frame is None:  # no time stamps, or none that can be jumped to
        frame = next(islice(Video(path).frames(), wanted.index, None), None)
    if frame is None:
        raise ImageError("truncated", f"the video has no frame {wanted.index} any more")
    return upright(frame)


def _by_jumping(path: Path, time_s: float) -> Frame | None:
    """The frame at that time, decoded from the key frame before it; None when there is no such frame."""
    try:
        with av.open(str(path)) as container:
            stream = next(each for each in container.streams.video if not each.disposition & Disposition.attached_pic)
            origin_us = container.start_time or 0
            container.seek(origin_us + round(time_s * av.time_base))
            for picture in container.decode(stream):
                if picture.pts is None:
                    return None
                start_s = float(picture.pts * picture.time_base - Fraction(origin_us, av.time_base))
                if start_s > time_s - NEARLY_S:
                    aspect = stream.sample_aspect_ratio or Fraction(1)
                    frame = Frame(picture=picture, pixel_aspect=aspect, start_s=start_s, end_s=start_s)
                    return frame if start_s < time_s + NEARLY_S else None
    except (av.FFmpegError, StopIteration):
        return None
    return None
