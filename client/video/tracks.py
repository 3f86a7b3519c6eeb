"""Faces of a video's frames linked to people, by overlap alone: who it is was not looked at.

So someone who after a cut is where another was goes on that one's track, and two people who cross at
the same height can be taken for each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean

from client.rows import Box, Face, Track, VideoFrame

REACH = 2.0
"""Boxes are compared drawn so many times as large about their centres: scored frames may lie seconds apart."""

SAME_IOU = 0.25
"""Of those larger boxes. A face may then move by 1.2 of its widths from one scored frame to the next."""

MOST_MISSED = 3
"""Frames in a row in which a face may be missed; after more it is a new track."""

COUNTS_FROM = 3
"""Frames from which a track may decide: a face in fewer is more often the detector's mistake than a person's."""


@dataclass
class Followed:
    """A track while it grows."""

    boxes: list[Box] = field(default_factory=list)
    frames: list[int] = field(default_factory=list)
    """Positions in the sequence of scored frames."""

    p_fakes: list[float] = field(default_factory=list)

    @property
    def p_fake(self) -> float:
        """The mean over its frames."""
        return fmean(self.p_fakes)

    def extend(self, position: int, box: Box, p_fake: float) -> None:
        """Seen again."""
        self.frames.append(position)
        self.boxes.append(box)
        self.p_fakes.append(p_fake)


def follow(frames: Sequence[VideoFrame]) -> list[Followed]:
    """Tracks in the order of their first frames, the larger face first.

    Each frame's faces are linked to the last boxes of the tracks that are still open, the pair of
    largest overlap first; a face that is left begins a track.

    Args:
        frames: in the order of the video.
    """
    tracks: list[Followed] = []
    opened: list[Followed] = []
    for position, frame in enumerate(frames):
        opened = [track for track in opened if position - track.frames[-1] <= MOST_MISSED + 1]
        links = _link(opened, frame.faces)
        for number, face in enumerate(frame.faces):
            if face.box is None:
                continue
            if number not in links:
                links[number] = Followed()
                tracks.append(links[number])
                opened.append(links[number])
            links[number].extend(position, face.box, face.p_fake)
    return tracks


def counting(tracks: Sequence[Followed], frames: Sequence[VideoFrame]) -> list[Followed]:
    """Those that may decide: of min(3, frames with faces) frames or more; all, when there is none."""
    least = min(COUNTS_FROM, sum(bool(frame.faces) for frame in frames))
    return [track for track in tracks if len(track.frames) >= least] or list(tracks)


def as_rows(tracks: Sequence[Followed], frames: Sequence[VideoFrame]) -> tuple[Track, ...]:
    """As a result row says them."""
    return tuple(
        Track(id=number, frames=tuple(frames[position].index for position in track.frames), p_fake=track.p_fake)
        for number, track in enumerate(tracks)
    )


def iou(one: Box, other: Box) -> float:
    """Shared area over joint area, 0..1; boxes are x1, y1, x2, y2."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / (_area(one) + _area(other) - shared)


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def _nearness(one: Box, other: Box) -> float:
    return iou(_drawn_larger(one), _drawn_larger(other))


def _drawn_larger(box: Box) -> Box:
    x1, y1, x2, y2 = box
    more_x, more_y = (x2 - x1) * (REACH - 1) / 2, (y2 - y1) * (REACH - 1) / 2
    return x1 - more_x, y1 - more_y, x2 + more_x, y2 + more_y


def _link(tracks: Sequence[Followed], faces: Sequence[Face]) -> dict[int, Followed]:
    """Each face's number to the track that it goes on; of equal overlaps the older track, the larger face."""
    pairs = [
        (-overlap, age, number)
        for age, track in enumerate(tracks)
        for number, face in enumerate(faces)
        if face.box is not None
        and (overlap := iou(_drawn_larger(track.boxes[-1]), _drawn_larger(face.box))) >= SAME_IOU
    ]
    links: dict[int, Followed] = {}
    taken: set[int] = set()
    for _, age, number in sorted(pairs):
        if age not in taken and number not in links:
            taken.add(age)
            links[number] = tracks[age]
    return links
