"""A row as the page holds it: a JSON array of what is shown, short enough for 200,000 of them.

The order of the fields is stated a second time in page/rows.js.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from itertools import groupby

from pydantic import JsonValue

from client.report.tally import as_text
from client.rows import Face, Row, Track, VideoFrame

MAX_POINTS = 1000
"""Frames of one timeline; of more, the most suspicious of each group is shown."""

DECIMALS = 5
"""Of p_fake: the verdict is in the row, so a number next to the threshold need not decide it."""


def to_json(value: JsonValue) -> str:
    """JSON that may stand in a script element: nothing in it can end the element or begin a comment."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def compact_row(row: Row, model: int | None) -> str:
    """One row.

    Args:
        row: the row.
        model: which of the page's models answered.
    """
    fields: list[JsonValue] = [
        row.path,
        row.kind,
        row.verdict,
        short(row.p_fake, DECIMALS),
        row.num_faces,
        [compact_face(face) for face in row.faces],
        [row.error.code, as_text(row.error.message)] if row.error else None,
        list(row.warnings),
        [[name, as_text(value)] for name, value in row.columns.items()],
        [row.width, row.height, row.size_bytes, short(row.elapsed_ms, 0)],
        model,
        _timeline(row),
    ]
    while fields[-1] in (None, []):
        fields.pop()
    return to_json(fields)


def compact_face(face: Face) -> list[JsonValue]:
    """p_fake, the detector's score, flags, and the box when there is one."""
    box = [short(value, 1) for value in face.box] if face.box else []
    return [short(face.p_fake, DECIMALS), short(face.score, 3), " ".join(face.flags), *box]


def short(value: float | None, decimals: int) -> float | int | None:
    """A number rounded; None for what JSON has no word for."""
    if value is None or not math.isfinite(value):
        return None
    return round(value, decimals or None)


def _timeline(row: Row) -> JsonValue:
    if row.frames is None:
        return None
    frames = sorted(row.frames, key=lambda frame: frame.index)
    segment = row.segment
    points = [_point(frame) for frame in thin(frames)]
    tracks: list[JsonValue] = [
        [track.id, short(track.p_fake, DECIMALS), len(track.frames), _spans(track, frames)]
        for track in row.tracks or ()
    ]
    bounds: JsonValue = (
        [short(segment.start_s, 3), short(segment.end_s, 3), short(segment.p_fake, DECIMALS)] if segment else None
    )
    return [len(frames), points, tracks, bounds]


def _point(frame: VideoFrame) -> JsonValue:
    faces = [short(face.p_fake, DECIMALS) for face in frame.faces]
    return [frame.index, short(frame.time_s, 3), short(frame.p_fake, DECIMALS), *(faces if len(faces) > 1 else [])]


def thin(frames: Sequence[VideoFrame]) -> Iterable[VideoFrame]:
    """At most ``MAX_POINTS`` frames: of each group of neighbours the most suspicious."""
    size = math.ceil(len(frames) / MAX_POINTS)
    groups = (frames[start : start + size] for start in range(0, len(frames), max(size, 1)))
    return (max(group, key=suspicion) for group in groups)


def suspicion(frame: VideoFrame) -> float:
    """For picking the most suspicious frame: one without a face comes last."""
    return -1.0 if frame.p_fake is None else frame.p_fake


def _spans(track: Track, frames: Sequence[VideoFrame]) -> list[JsonValue]:
    """From when to when a person is seen: first and last time of each run of sampled frames, seconds."""
    wanted = set(track.frames)
    runs = (list(run) for is_seen, run in groupby(frames, lambda frame: frame.index in wanted) if is_seen)
    return [[short(run[0].time_s, 3), short(run[-1].time_s, 3)] for run in runs]
