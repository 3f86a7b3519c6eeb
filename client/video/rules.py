"""One number, and one stretch of time, from the numbers of a video's frames."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import NamedTuple

from client.rows import VideoFrame
from client.video.options import Rule
from client.video.tracks import Followed, counting


class Series(NamedTuple):
    """The numbers that decide."""

    frames: tuple[int, ...]
    """Positions in the sequence of scored frames, rising."""

    p_fakes: tuple[float, ...]
    """One of each."""

    @property
    def p_fake(self) -> float:
        """The video's: their mean."""
        return fmean(self.p_fakes)


def deciding_series(frames: Sequence[VideoFrame], tracks: Sequence[Followed], rule: Rule) -> Series | None:
    """The numbers whose mean is the video's p_fake; None when no frame has a face.

    Args:
        frames: those scored, in the order of the video; those without a face are left out.
        tracks: of their faces.
        rule: ``track``: of the track with the largest mean, of those that are long enough to count.
            ``frames``: the frames' p_fake. ``paper``: the largest face's of each frame.

    Source: arXiv 2503.19683 and 2508.06248 average over frames what they say of the largest face.
    """
    if rule == "track":
        best = max(counting(tracks, frames), key=lambda track: track.p_fake, default=None)
        return Series(tuple(best.frames), tuple(best.p_fakes)) if best else None
    numbers = {
        position: frame.p_fake if rule == "frames" else frame.faces[0].p_fake
        for position, frame in enumerate(frames)
        if frame.p_fake is not None and frame.faces
    }
    scored = {position: p_fake for position, p_fake in numbers.items() if p_fake is not None}
    return Series(tuple(scored), tuple(scored.values())) if scored else None


def worst_stretch(p_fakes: Sequence[float], threshold: float) -> tuple[int, int]:
    """First and last (inclusive) of the neighbours with the largest sum of (p_fake - threshold).

    A stretch above the threshold grows over dips that are smaller than what lies behind them; where
    all is below, it is the largest number alone. Of equal sums the one that ends first.

    Args:
        p_fakes: one or more.
        threshold: from which a number is called fake.

    Source: Kadane's algorithm; Bentley, "Programming pearls: algorithm design techniques", CACM 27(9), 1984.
    """
    best, best_sum, begin, running = (0, 0), float("-inf"), 0, 0.0
    for end, p_fake in enumerate(p_fakes):
        if running < 0:
            begin, running = end, 0.0
        running += p_fake - threshold
        if running > best_sum:
            best, best_sum = (begin, end), running
    return best
