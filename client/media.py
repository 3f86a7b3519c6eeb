"""Images and videos into rows, whoever answers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import Executor
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

from client.answers import ImageAnswer, error_row, image_row, video_row
from client.backends.protocol import Backend
from client.calling import CallError
from client.options import ScoreOptions
from client.reading import ReadFile, VideoFile
from client.rows import Row, RowError
from lnclip.errors import EngineError, ImageError

VIDEOS_AT_ONCE = 4
"""Each holds a decoder and a few frames, which in 4K are 100 MB."""


class MediaScorer:
    """A ``FileScorer`` of images and videos."""

    batch_size = 1

    def __init__(self, backend: Backend, options: ScoreOptions) -> None:
        """``options``: of videos and of the largest side."""
        self._backend = backend
        self._options = options

    async def __aenter__(self) -> Self:
        """See ``FileScorer``."""
        self._videos = asyncio.Semaphore(VIDEOS_AT_ONCE)
        async with AsyncExitStack() as undo:
            await undo.enter_async_context(self._backend)
            self._undo = undo.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Disconnect."""
        await self._undo.__aexit__(kind, error, traceback)

    async def score(self, files: Sequence[ReadFile], threads: Executor, started_s: float) -> list[Row]:
        """See ``FileScorer``."""
        return [await self._score(file, threads, started_s) for file in files]  # one, see ``batch_size``

    def stop_retrying(self) -> None:
        """See ``Backend``."""
        self._backend.stop_retrying()

    async def _score(self, file: ReadFile, threads: Executor, started_s: float) -> Row:
        try:
            if file.error is not None:
                return error_row(file.facts, file.error, ms_since(started_s))
            if file.video is not None:
                return await self._score_video(file, file.video, threads, started_s)
            return image_row(file.facts, await self._answer(file.content, threads), ms_since(started_s))
        except CallError as error:
            trouble = error.error
        except ImageError as error:
            trouble = RowError(code=error.code, message=error.reason)
        except EngineError as error:
            trouble = RowError(code="bad_answer", message=str(error))
        return error_row(file.facts, trouble, ms_since(started_s))

    async def _answer(self, image: bytes, threads: Executor) -> ImageAnswer:
        if self._options.max_side is None:
            return await self._backend.answer(image)
        from client.backends.shrinking import shrink

        shrunk = await asyncio.get_running_loop().run_in_executor(threads, shrink, image, self._options.max_side)
        if shrunk is None:
            return await self._backend.answer(image)
        return shrunk.enlarge(await self._backend.answer(shrunk.image, scale=shrunk.scale))

    async def _score_video(self, file: ReadFile, video: VideoFile, threads: Executor, started_s: float) -> Row:
        from client.video.scoring import score_video

        try:
            async with self._videos:
                answer = await score_video(
                    video.path, self._options.video, lambda frame: self._answer(frame, threads), threads
                )
        finally:
            video.discard()
        return video_row(file.facts, answer, ms_since(started_s))


def ms_since(started_s: float) -> float:
    """Milliseconds since a ``time.perf_counter()``."""
    return round((time.perf_counter() - started_s) * 1000, 1)
