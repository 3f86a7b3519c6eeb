"""Which frames of a video to look at next, from what was found in those before: it decodes nothing itself.

The most wanted frames first, by few sequential decodings. Who decodes asks, looks and tells::

    while search.begin():  # decode from the first frame
        while (index := search.next_frame(index)) is not None: ...  # look; search.keep(index) if there is a face
        if search.reads_on: ...  # decode to the end; search.end(num_frames)
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque

from lnclip.sampling import FrameChoice, ranked_frames

GROWTH = 2
"""Each further decoding looks for the missing faces in so many times more frames than the one before."""


class FrameSearch:
    """One video: the frames whose faces are kept are those that a walk through the ranked frames would keep."""

    def __init__(self, choice: FrameChoice, num_expected: int) -> None:
        """Nothing is wanted before ``begin``.

        Args:
            choice: which frames, and how many faces.
            num_expected: frames that there should be. Where a decoding shows that there are others,
                the search starts again, as the order of frames follows from their number.
        """
        self.choice, self.num_frames = choice, num_expected
        self._is_known = False
        self._kept: list[tuple[int, int]] = []
        """Heap of (minus rank, frame): the least wanted first."""

        self._start()

    def _start(self) -> None:
        self._ranked = enumerate(ranked_frames(self.choice, self.num_frames))
        self._growth = 1

    @property
    def kept(self) -> list[int]:
        """Frames whose faces are kept, in their order."""
        return sorted(frame for _, frame in self._kept)

    def begin(self) -> bool:
        """Whether the video must be gone through (once more), from its first frame."""
        missing = self.choice.count - len(self._kept)
        # Strides are wanted in the order of the video: one decoding finds them all and can stop early.
        size = None if missing and self.choice.sampling == "stride" else missing * self._growth
        self._growth *= GROWTH
        self._ranks = {frame: rank for rank, frame in itertools.islice(self._ranked, size)}
        self._ahead = deque(sorted(self._ranks))
        return bool(self._ranks)

    def next_frame(self, start: int) -> int | None:
        """The first frame from ``start`` on that is to be looked at in this decoding."""
        while self._ahead and (self._ahead[0] < start or not self._is_wanted(self._ahead[0])):
            self._ahead.popleft()
        return self._ahead[0] if self._ahead else None

    @property
    def reads_on(self) -> bool:
        """Whether this decoding goes to the end though no frame is wanted: to learn how many there are."""
        return not self._is_known and not (self.choice.sampling == "stride" and self._is_full)

    def keep(self, index: int) -> int | None:
        """A face was found in that frame; the frame whose face is to be thrown away for it."""
        heapq.heappush(self._kept, (-self._ranks[index], index))
        return heapq.heappop(self._kept)[1] if len(self._kept) > self.choice.count else None

    def end(self, num_frames: int) -> list[int]:
        """There were so many frames; those whose faces are to be thrown away as the search starts again."""
        is_as_expected, self._is_known = self._is_known or num_frames == self.num_frames, True
        if is_as_expected:
            return []
        dropped, self.num_frames = self.kept, num_frames
        self._kept.clear()
        self._start()
        return dropped

    @property
    def _is_full(self) -> bool:
        return len(self._kept) == self.choice.count

    def _is_wanted(self, index: int) -> bool:
        return not self._is_full or (-self._ranks[index], index) > self._kept[0]
