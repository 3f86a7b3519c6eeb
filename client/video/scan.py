"""The chosen frames of one video, decoded in threads and answered while the next ones are decoded."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import ParamSpec, TypeVar

from client.answers import ImageAnswer
from client.video.decoding import Decoding, Picture
from lnclip.errors import ImageError
from lnclip.sampling import FrameChoice, ranked_frames
from lnclip.searching import FrameSearch
from lnclip.video import Video

MOST_WAITING = 4
"""Frames of one video that are decoded (or being decoded) and not yet answered: its memory, and how much
faster than the server it may decode."""

Answer = Callable[[bytes], Awaitable[ImageAnswer]]
P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class ScannedFrame:
    """A frame with its answer."""

    index: int
    start_s: float
    end_s: float
    answer: ImageAnswer


class Scan:
    """One video while it is scored."""

    def __init__(self, path: Path, choice: FrameChoice, answer: Answer, threads: Executor) -> None:
        """Each decoding of up to the next wanted frame is one task of ``threads``, which waits for nothing."""
        self.video, self.choice = Video(path), choice
        self._answer, self._threads = answer, threads
        self._waiting = asyncio.Semaphore(MOST_WAITING)
        self._seen: dict[int, ScannedFrame | None] = {}
        """By index; None for a frame that was decoded in part."""

        self._words: dict[str, None] = {}

    async def run(self) -> tuple[ScannedFrame, ...]:
        """Go through the video as often as it takes, which is mostly once.

        Returns:
            In the order of the video: of ``uniform`` the chosen frames, of ``stride`` and ``spread``
            those of them with a face.

        Raises:
            ImageError: unreadable, empty, not_a_video, no_video_stream, no_frames; or as ``upright``.
            CallError, EngineError: the first of what answering raised.
        """
        search = FrameSearch(self.choice, await self._in_thread(self.video.count_packets))
        while search.begin():
            await self._go_through(search)
        if not any(self._seen.values()):
            raise ImageError("no_frames", f"no frame can be decoded ({self.video.damage or 'there is no whole one'})")
        indices = search.kept
        if self.choice.sampling == "uniform":
            indices = sorted(ranked_frames(self.choice, search.num_frames))
        return tuple(frame for index in indices if (frame := self._seen.get(index)))

    @property
    def answers(self) -> list[ImageAnswer]:
        """Of all frames that were looked at, in the order of the video."""
        return [frame.answer for _, frame in sorted(self._seen.items()) if frame]

    @property
    def warnings(self) -> tuple[str, ...]:
        """Words: broken_tail or damaged, what was put right, and what the answers say; each once."""
        is_damaged = self.video.damage or None in self._seen.values()
        own = ["broken_tail"] if self.video.is_cut_off else ["damaged"] if is_damaged else []
        said = (word for answer in self.answers for word in answer.warnings)
        return tuple(dict.fromkeys([*own, *self._words, *said]))

    async def _go_through(self, search: FrameSearch) -> None:
        decoding, ended, index = Decoding(self.video), False, 0
        try:
            async with asyncio.TaskGroup() as answering:
                while not ended and ((wanted := search.next_frame(index)) is not None or search.reads_on):
                    if wanted is not None and wanted in self._seen:  # the search began anew
                        self._report(wanted, search)
                        index = wanted + 1
                        continue
                    await self._waiting.acquire()
                    picture = await self._in_thread(decoding.read, wanted)
                    if picture is None:
                        self._waiting.release()
                        ended = True
                    else:
                        answering.create_task(self._look(picture, search))
                        index = picture.index + 1
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
        finally:
            decoding.stop()  # after a failure a thread may still be at it
        if ended:
            search.end(decoding.num_frames)

    async def _look(self, picture: Picture, search: FrameSearch) -> None:
        self._words.update(dict.fromkeys(picture.unusual))
        try:
            answer = await self._answer(picture.image) if picture.image else None
        finally:
            self._waiting.release()
        frame = ScannedFrame(picture.index, picture.start_s, picture.end_s, answer) if answer else None
        self._seen[picture.index] = frame
        self._report(picture.index, search)

    def _report(self, index: int, search: FrameSearch) -> None:
        frame = self._seen[index]
        if frame and frame.answer.faces:
            search.keep(index)

    async def _in_thread(self, work: Callable[P, T], *args: P.args, **_: P.kwargs) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *args)
