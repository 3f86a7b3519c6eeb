"""Frames of a video file, decoded from its beginning to its end and never by jumping.

Frame i is the i-th that can be decoded, whatever the time stamps say. One thread decodes: processes
give the parallelism, and a damaged file then gives the same frames each time.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import av
import numpy as np
from av.stream import Disposition
from numpy.typing import NDArray

from lnclip.errors import ImageError
from lnclip.intake import MAX_PIXELS, MIN_SIDE_PX

Pixels = NDArray[np.uint8]


class Frame(Protocol):
    """What we use of ``av.VideoFrame``: decoded, not yet converted."""

    width: int
    height: int
    rotation: int
    """Degrees counter-clockwise that the container says to turn it."""

    is_corrupt: bool

    def to_ndarray(self, *, format: str) -> Pixels:  # noqa: A002 - PyAV's name
        """Pixels in a format of FFmpeg's."""
        ...


class Video:
    """One file. Holds no frame, and the file only while it is decoded."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.damage = ""
        """The first packet that could not be decoded, in FFmpeg's words; known when ``frames`` has come to its end."""

        self.num_declared = 0
        """Frames that the file says it has; 0 where it does not say."""

    def count_packets(self) -> int:
        """How many frames there should be, by reading without decoding; damage and odd codecs make it a guess.

        Raises:
            ImageError: as ``frames``.
        """
        with _opened(self.path) as (container, stream):
            self.num_declared = stream.frames
            return sum(packet.size > 0 for packet in self._packets(container.demux(stream)))

    def frames(self) -> Iterator[Frame]:
        """All that can be decoded, in order of presentation.

        Raises:
            ImageError: unreadable, empty, not_a_video, no_video_stream.
        """
        self.damage = ""
        with _opened(self.path) as (container, stream):
            for packet in self._packets(container.demux(stream)):
                try:
                    yield from packet.decode()
                except av.FFmpegError as error:
                    self.damage = self.damage or error.strerror

    def _packets(self, packets: Iterator[av.Packet]) -> Iterator[av.Packet]:
        """Up to the file's end, or to where it cannot be read on."""
        try:
            yield from packets
        except av.FFmpegError as error:
            self.damage = self.damage or error.strerror


def upright(frame: Frame) -> Pixels:
    """(H, W, 3) RGB, turned as the container says.

    Raises:
        ImageError: a side is too short or there are too many pixels.
    """
    if frame.width * frame.height > MAX_PIXELS:
        raise ImageError("too_many_pixels", f"{frame.width} x {frame.height}; at most {MAX_PIXELS:,} pixels are read")
    if min(frame.width, frame.height) < MIN_SIDE_PX:
        raise ImageError("bad_sides", f"{frame.width} x {frame.height}; sides must be {MIN_SIDE_PX} pixels or more")
    pixels = frame.to_ndarray(format="rgb24")
    return np.ascontiguousarray(np.rot90(pixels, round(frame.rotation / 90)))


@contextmanager
def _opened(path: Path) -> Iterator[tuple[av.container.InputContainer, av.VideoStream]]:
    try:
        if not path.stat().st_size:
            raise ImageError("empty", "the file has no bytes")
        container = av.open(str(path))
    except OSError as error:
        raise ImageError("unreadable", str(error.strerror)) from error
    except av.FFmpegError as error:
        reason = f"neither an image by its first bytes nor a video that FFmpeg opens ({error.strerror})"
        raise ImageError("not_a_video", reason) from error
    with container:
        pictures = [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]
        if not pictures:
            raise ImageError("no_video_stream", f"a file of the kind {container.format.name} that holds no video")
        if pictures[0].codec_context is None:
            raise ImageError("not_a_video", "FFmpeg has no decoder for it")
        pictures[0].codec_context.thread_count = 1
        yield container, pictures[0]
