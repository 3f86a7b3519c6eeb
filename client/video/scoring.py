"""One video in, one verdict out: frames answered, people followed, numbers made one."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

from pydantic import JsonValue

from client.answers import ImageAnswer
from client.calling import CallError
from client.rows import RowError, Segment, Track, VideoFrame
from client.video.options import VideoOptions
from client.video.rules import Series, deciding_series, worst_stretch
from client.video.scan import Answer, Scan, ScannedFrame
from client.video.tracks import as_rows, follow
from lnclip.errors import EngineError
from lnclip.scoring import Verdict, verdict


class VideoAnswer(NamedTuple):
    """What is said of one video; its fields are a row's."""

    verdict: Verdict
    p_fake: float | None
    """None without a face."""

    num_faces: int
    """Tracks."""

    frames: tuple[VideoFrame, ...]
    tracks: tuple[Track, ...]
    segment: Segment | None
    width: int
    """Of the first frame, upright, pixels."""

    height: int
    warnings: tuple[str, ...]
    model: dict[str, JsonValue]


async def score_video(path: Path, options: VideoOptions, answer: Answer, threads: Executor) -> VideoAnswer:
    """Score a video file by its frames, all of them with the same weights.

    Args:
        path: a local file.
        options: which frames, and how their numbers are made one.
        answer: scores one image file; may itself limit how many are under way.
        threads: decode; no task of theirs waits for ``answer``.

    Raises:
        ImageError: it has no frame that can be scored; see ``Scan.run``.
        CallError: from ``answer``, or ``model_changed``: two times, other weights came in the middle.
        EngineError: from ``answer``, or the threshold that it names is no number.
    """
    for _ in range(2):
        scan = Scan(path, options.choice, answer, threads)
        frames = await scan.run()
        if len({str(answered.model.get("artifact_id")) for answered in scan.answers}) == 1:
            return _conclude(scan, frames, options)
    message = "its frames were answered by different models, two times: published while it was scored; try again"
    raise CallError(RowError(code="model_changed", message=message), retryable=True)


def _conclude(scan: Scan, scanned: Sequence[ScannedFrame], options: VideoOptions) -> VideoAnswer:
    frames = tuple(
        VideoFrame(index=frame.index, time_s=frame.start_s, p_fake=frame.answer.p_fake, faces=frame.answer.faces)
        for frame in scanned
    )
    first, tracks = scan.answers[0], follow(frames)
    threshold = _threshold(first)
    series = deciding_series(frames, tracks, options.rule)
    p_fake = series.p_fake if series else None
    return VideoAnswer(
        verdict=verdict(p_fake, threshold),
        p_fake=p_fake,
        num_faces=len(tracks),
        frames=frames,
        tracks=as_rows(tracks, frames),
        segment=_segment(series, scanned, threshold) if series else None,
        width=first.width,
        height=first.height,
        warnings=scan.warnings,
        model=first.model,
    )


def _segment(series: Series, scanned: Sequence[ScannedFrame], threshold: float) -> Segment:
    first, last = worst_stretch(series.p_fakes, threshold)
    return Segment(
        start_s=scanned[series.frames[first]].start_s,
        end_s=scanned[series.frames[last]].end_s,
        p_fake=fmean(series.p_fakes[first : last + 1]),
    )


def _threshold(answer: ImageAnswer) -> float:
    threshold = answer.model.get("threshold")
    if not isinstance(threshold, int | float):
        raise EngineError(f"the model says its threshold is {threshold!r}, not a number")
    return float(threshold)
