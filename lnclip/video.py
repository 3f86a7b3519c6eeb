"""Frames of a video file, decoded from its beginning to its end and never by jumping.

Frame i is the i-th that can be decoded, whatever the time stamps say. One thread decodes: processes
or other videos give the parallelism, and a damaged file then gives the same frames each time.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
from av.stream import Disposition

from lnclip.errors import ImageError
from lnclip.picture import Frame

USUAL_RATE = Fraction(25)
"""Frames per second where a file says nothing of time."""

MISSING_S = 0.5
"""A Matroska file that ends so much before the time that it says was cut off: it counts no frames."""


class Video:
    """One file. Holds no frame, and the file only while it is decoded."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.damage = ""
        """The first packet that could not be decoded, in FFmpeg's words; known when ``frames`` once came to its end."""

        self.num_declared = 0
        """Frames that the file says it has; 0 where it does not say."""

        self.is_cut_off = False
        """The end is missing or damaged; known likewise."""

        self._is_damaged_here = False

    def count_packets(self) -> int:
        """How many frames there should be, by reading without decoding; damage and odd codecs make it a guess.

        Raises:
            ImageError: as ``frames``.
        """
        with _opened(self.path) as (container, stream):
            self.num_declared = stream.frames
            return sum(packet.size > 0 for packet in self._packets(container.demux(stream)))

    def frames(self) -> Generator[Frame, None, None]:
        """All that can be decoded, in order of presentation. One is held back, until the next one's time is known.

        Raises:
            ImageError: unreadable, empty, not_a_video, no_video_stream.
        """
        num_frames = 0
        with _opened(self.path) as (container, stream):
            self.num_declared = stream.frames
            aspect, clock = stream.sample_aspect_ratio or Fraction(1), _Clock(container, stream)
            waiting: tuple[av.VideoFrame, float] | None = None
            for picture in self._pictures(container.demux(stream)):
                num_frames += 1
                clock.show(picture)
                if waiting:
                    yield Frame(picture=waiting[0], pixel_aspect=aspect, start_s=waiting[1], end_s=clock.start_s)
                waiting = picture, clock.start_s
            is_short = num_frames < self.num_declared or clock.end_s < _declared_s(stream) - MISSING_S
            self.is_cut_off = is_short or self._is_damaged_here
            if waiting:
                yield Frame(picture=waiting[0], pixel_aspect=aspect, start_s=waiting[1], end_s=clock.end_s)

    def _pictures(self, packets: Iterator[av.Packet]) -> Iterator[av.VideoFrame]:
        """Decode. A whole packet after damage shows that the damage was not the end."""
        for packet in self._packets(packets):
            is_whole = packet.size > 0
            try:
                for picture in packet.decode():
                    if isinstance(picture, av.VideoFrame):
                        is_whole &= not picture.is_corrupt
                        self._is_damaged_here |= picture.is_corrupt
                        yield picture
            except av.FFmpegError as error:
                self._note(error)
            else:
                self._is_damaged_here &= not is_whole

    def _packets(self, packets: Iterator[av.Packet]) -> Iterator[av.Packet]:
        """Up to the file's end, or to where it cannot be read on."""
        self._is_damaged_here = False
        try:
            yield from packets
        except av.FFmpegError as error:
            self._note(error)

    def _note(self, error: av.FFmpegError) -> None:
        self.damage = self.damage or str(error.strerror)
        self._is_damaged_here = True


class _Clock:
    """When the frames of one decoding are shown, in seconds from the beginning of the file."""

    def __init__(self, container: av.container.InputContainer, stream: av.VideoStream) -> None:
        self._origin_s = Fraction(container.start_time or 0, av.time_base)
        self._unit_s = stream.time_base or Fraction(0)
        self._usual_s = 1 / (stream.average_rate or stream.guessed_rate or USUAL_RATE)
        self.start_s, self.end_s = -1.0, 0.0

    def show(self, picture: av.VideoFrame) -> None:
        """The next frame. Without a time stamp that rises (raw streams, AVI) it begins where the one before ends."""
        stamp_s = -1.0 if picture.pts is None else max(float(picture.pts * self._unit_s - self._origin_s), 0.0)
        self.start_s = stamp_s if stamp_s > self.start_s else self.end_s
        self.end_s = self.start_s + float((picture.duration or 0) * self._unit_s or self._usual_s)


def _declared_s(stream: av.VideoStream) -> float:
    """What a Matroska file says of one stream; 0 where a file does not say."""
    hours, _, rest = stream.metadata.get("DURATION", "").partition(":")
    minutes, _, seconds = rest.partition(":")
    try:
        return 3600 * int(hours) + 60 * int(minutes) + float(seconds)
    except ValueError:
        return 0.0


@contextmanager
def _opened(path: Path) -> Iterator[tuple[av.container.InputContainer, av.VideoStream]]:
    try:
        if not path.stat().st_size:
            raise ImageError("empty", "the file has no bytes")
        container = av.open(f"file:{path}")  # else FFmpeg takes http:x.mp4 for an address
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
