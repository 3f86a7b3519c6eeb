"""Scoring inside an event loop: files in, rows out, a bounded number of requests in flight."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncGenerator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

from client.limits import Limit
from client.options import ScoreOptions
from client.pipeline import Pipeline
from client.reading import ReadFile, from_bytes, read_input
from client.rows import Row
from client.sources.finding import Found, find
from client.ways import choose_scorer
from lnclip.scoring import RequestParameters

StrPath = str | os.PathLike[str]

THREADS = 16
"""That read, hash and decode; more files may be in flight."""


class AsyncScorer:
    """Scores files with one server, several, or none; an asynchronous context manager."""

    def __init__(self, urls: str | Sequence[str] | None = None, options: ScoreOptions | None = None) -> None:
        """Nothing is sent before it is entered.

        Args:
            urls: gRPC address of a server, or of several; None is the one that runs from the working directory.
            options: how to score.

        Raises:
            ConfigError: a request parameter has a value that cannot be.
            ServerError: no ``urls``, and no server runs from here.
        """
        self.options = options or ScoreOptions()
        RequestParameters.parse(self.options.parameters)
        self.limit = _limit(self.options)
        self._scorer = choose_scorer(urls, self.options, self.limit)

    async def __aenter__(self) -> Self:
        """Connect, and see that the model is served.

        Raises:
            ServerError: no server can be reached, or they serve something else.
            ArtifactError: without a server: something is missing in the repository, or does not fit together.
            SpecError: for crops: the encoder was trained for another spec.
        """
        async with AsyncExitStack() as undo:
            self._threads = ThreadPoolExecutor(THREADS, "score")
            undo.callback(self._threads.shutdown, wait=False, cancel_futures=True)
            await undo.enter_async_context(self._scorer)
            self._undo = undo.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the connections."""
        await self._undo.__aexit__(kind, error, traceback)

    @property
    def chunk_size(self) -> int:
        """Inputs that are scored together: ready crops share requests."""
        return self._scorer.batch_size

    async def score(self, media: StrPath | bytes) -> Row:
        """One file or URL, or the bytes of an image. Trouble with it is in the row."""
        if not isinstance(media, bytes):
            [row] = await self.score_found([Found(os.fspath(media), "input")])
            return row
        [row] = await self._scorer.score([from_bytes(media)], self._threads, time.perf_counter())
        return row

    async def score_many(self, paths: Iterable[StrPath]) -> AsyncGenerator[Row, None]:
        """Whatever ``client.sources`` finds there: a row for each input, in order of completion."""
        pipeline = Pipeline(find(paths), self.score_found, limit=self.limit, chunk_size=self.chunk_size)
        async for rows in pipeline.run():
            for row in rows:
                yield row

    async def score_found(self, chunk: Sequence[Found]) -> list[Row]:
        """Inputs that were found, at most ``chunk_size`` of them."""
        started_s = time.perf_counter()
        reading = [self._read(found) for found in chunk]
        files = [await file for file in reading]  # gather would cost a task for each
        return await self._scorer.score(files, self._threads, started_s)

    def stop_retrying(self) -> None:
        """From now on a failed request is an error row at once."""
        self._scorer.stop_retrying()

    def _read(self, found: Found) -> asyncio.Future[ReadFile]:
        return asyncio.get_running_loop().run_in_executor(self._threads, read_input, found)


def _limit(options: ScoreOptions) -> Limit:
    if options.concurrency != "auto":
        return Limit(options.concurrency)
    if options.way == "local":  # no requests to learn from; two images for each core keep it busy
        return Limit(2 * len(os.sched_getaffinity(0)))
    return Limit.auto()
