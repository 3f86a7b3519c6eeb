"""Looking through a video for faces: the most wanted frames first, by few sequential decodings, in bounded memory."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterable, Mapping
from typing import Generic, TypeVar

from training.data.frames import FrameChoice, ranked_frames

F = TypeVar("F")

GROWTH = 2
"""Each further decoding looks for the missing faces in so many times more frames than the one before."""


class FaceSearch(Generic[F]):
    """One video. Its frames are gone through from the first each time, and none is held."""

    def __init__(
        self,
        choice: FrameChoice,
        frames: Callable[[], Iterable[F]],
        look: Callable[[int, F], bool],
        discard: Callable[[int], None],
    ) -> None:
        """Search with these.

        Args:
            choice: which frames, and how many faces.
            frames: all frames, from the first.
            look: cuts the face of a frame; whether there was one.
            discard: throws that cut away: nearer frames to what is wanted had faces too.
        """
        self.choice, self.frames, self.look, self.discard = choice, frames, look, discard
        self._kept: list[tuple[int, int]] = []
        """Heap of (minus rank, frame): the least wanted first."""

    def run(self, num_expected: int) -> int:
        """Look until there are enough faces or no frames left.

        Args:
            num_expected: frames that there should be. Where a decoding shows that there are others,
                the search starts again, as the order of frames follows from their number.

        Returns:
            How many frames there are, or ``num_expected`` when it was not necessary to know.
        """
        num_frames = self._search(num_expected, is_known=False)
        if num_frames != num_expected:
            for _, frame in self._kept:
                self.discard(frame)
            self._kept.clear()
            self._search(num_frames, is_known=True)
        return num_frames

    @property
    def found(self) -> list[int]:
        """Frames whose faces were cut, in their order."""
        return sorted(frame for _, frame in self._kept)

    def _search(self, num_frames: int, *, is_known: bool) -> int:
        """As many decodings as it takes, or the true number of frames where that is another."""
        ranked = enumerate(ranked_frames(self.choice, num_frames))
        # Strides are wanted in the order of the video: one decoding finds them all and can stop early.
        size, growth = (None if self.choice.sampling == "stride" else self.choice.count), 1
        while wanted := {frame: rank for rank, frame in itertools.islice(ranked, size)}:
            num_decoded = self._decode(wanted, to_end=not is_known)
            if num_decoded is not None and not is_known:
                if num_decoded != num_frames:
                    return num_decoded
                is_known = True
            missing = self.choice.count - len(self._kept)
            if not missing:
                break
            growth *= GROWTH
            size = missing * growth
        return num_frames

    def _decode(self, wanted: Mapping[int, int], *, to_end: bool) -> int | None:
        """Look at the wanted frames (with their ranks); the number of frames if the end was seen."""
        last, index = max(wanted), -1
        for index, frame in enumerate(self.frames()):
            if index > last and not to_end:
                return None
            if index not in wanted:
                continue
            entry = (-wanted[index], index)
            if len(self._kept) == self.choice.count and entry < self._kept[0]:
                if self.choice.sampling == "stride":
                    return None
                continue
            if self.look(index, frame):
                heapq.heappush(self._kept, entry)
                if len(self._kept) > self.choice.count:
                    self.discard(heapq.heappop(self._kept)[1])
        return index + 1
