"""Looking through a video for faces, in bounded memory: the sequential decodings that ``lnclip.searching`` asks for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from lnclip.sampling import FrameChoice
from lnclip.searching import FrameSearch

F = TypeVar("F")


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
        self.found: list[int] = []
        """Frames whose faces were cut, in their order."""

    def run(self, num_expected: int) -> int:
        """Look until there are enough faces or no frames left.

        Returns:
            How many frames there are, or ``num_expected`` when it was not necessary to know.
        """
        search = FrameSearch(self.choice, num_expected)
        while search.begin():
            self._decode(search)
        self.found = search.kept
        return search.num_frames

    def _decode(self, search: FrameSearch) -> None:
        index = -1
        for index, frame in enumerate(self.frames()):
            wanted = search.next_frame(index)
            if wanted is None and not search.reads_on:
                return
            if wanted == index and self.look(index, frame):
                discarded = search.keep(index)
                if discarded is not None:
                    self.discard(discarded)
        for dropped in search.end(index + 1):
            self.discard(dropped)
