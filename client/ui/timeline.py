"""p_fake over a video's time, as SVG: percentages across, pixels down, so that text keeps its size on any screen."""

from __future__ import annotations

from itertools import pairwise

from client.rows import Row, VideoFrame
from client.ui.pictures import class_of

HEIGHT_PX = 150
NO_FACE_PX = 8
"""Height of the tick of a frame without a face."""


def timeline(row: Row, threshold: float | None) -> str:
    """A dot for each frame that was looked at; nothing without frames."""
    frames = sorted(row.frames or (), key=lambda frame: frame.index)
    if not frames:
        return ""
    # The last frame lasts a while too; a lone one gets a second.
    end_s = frames[-1].time_s + (frames[-1].time_s - frames[0].time_s) / max(len(frames) - 1, 1) or 1.0
    marks = [_segment(row, end_s), _threshold(threshold)]
    scored = [frame for frame in frames if frame.p_fake is not None]
    marks += [_line(left, right, end_s) for left, right in pairwise(scored)]
    marks += [_mark(frame, end_s, threshold) for frame in frames]
    segment = row.segment
    words = (
        f"Most suspicious from {segment.start_s:.2f} s to {segment.end_s:.2f} s, p_fake {segment.p_fake:.3f}."
        if segment
        else "No frame has a face."
    )
    faceless = len(frames) - len(scored)
    words += f" {len(frames)} frames looked at" + (f", {faceless} of them without a face." if faceless else ".")
    words += f" Dashed: the threshold, {threshold:.3f}." if threshold is not None else ""
    return (
        f'<div class="timeline"><h3>Over time</h3><div class="plot"><i class="top">1</i><i class="bottom">0</i>'
        f'<svg role="img" aria-label="{words}" width="100%" height="{HEIGHT_PX}">{"".join(marks)}</svg>'
        f'<i class="start">0 s</i><i class="end">{end_s:.1f} s</i></div><p>{words}</p></div>'
    )


def _x(time_s: float, end_s: float) -> str:
    return f"{100 * time_s / end_s:.2f}%"


def _y(p_fake: float) -> str:
    return f"{(1 - p_fake) * HEIGHT_PX:.1f}"


def _segment(row: Row, end_s: float) -> str:
    if row.segment is None:
        return ""
    start_s, width_s = row.segment.start_s, max(row.segment.end_s - row.segment.start_s, 0)
    return f'<rect class="segment" x="{_x(start_s, end_s)}" width="{_x(width_s, end_s)}" y="0" height="{HEIGHT_PX}"/>'


def _threshold(threshold: float | None) -> str:
    if threshold is None:
        return ""
    y = _y(threshold)
    return f'<line class="threshold" x1="0" x2="100%" y1="{y}" y2="{y}"/>'


def _line(left: VideoFrame, right: VideoFrame, end_s: float) -> str:
    return (
        f'<line class="course" x1="{_x(left.time_s, end_s)}" x2="{_x(right.time_s, end_s)}" '
        f'y1="{_y(left.p_fake or 0)}" y2="{_y(right.p_fake or 0)}"/>'
    )


def _mark(frame: VideoFrame, end_s: float, threshold: float | None) -> str:
    x = _x(frame.time_s, end_s)
    if frame.p_fake is None:
        top = HEIGHT_PX - NO_FACE_PX
        return (
            f'<line class="faceless" x1="{x}" x2="{x}" y1="{top}" y2="{HEIGHT_PX}">'
            f"<title>{frame.time_s:.2f} s: no face</title></line>"
        )
    return (
        f'<circle class="{class_of(frame.p_fake, threshold)}" cx="{x}" cy="{_y(frame.p_fake)}" r="4">'
        f"<title>{frame.time_s:.2f} s: {frame.p_fake:.3f}</title></circle>"
    )
