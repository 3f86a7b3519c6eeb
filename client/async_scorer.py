"""Scoring inside an event loop: files in, rows out, a bounded number of requests in flight."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncGenerator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

from client.batched_reading import BatchedReading
from client.known_answers import KnownAnswers
from client.limits import Limit
from client.media import ms_since
from client.options import ScoreOptions
from client.pipeline import Pipeline
from client.reading import ReadFile, from_bytes
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
        self._known = KnownAnswers() if self.options.reuse_answers else None

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
            self._reading = BatchedReading(self._threads)
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
        started_s = time.perf_counter()
        files = (
            [from_bytes(media)] if isinstance(media, bytes) else await self._read([Found(os.fspath(media), "input")])
        )
        [row] = await self._scorer.score(files, self._threads, started_s)
        return row

    async def score_many(self, paths: Iterable[StrPath]) -> AsyncGenerator[Row, None]:
        """Whatever ``client.sources`` finds there: a row for each input, in order of completion."""
        pipeline = Pipeline(find(paths), self.score_found, limit=self.limit, chunk_size=self.chunk_size)
        async for rows in pipeline.run():
            for row in rows:
                yield row

    async def score_found(self, chunk: Sequence[Found]) -> list[Row]:
        """Inputs that were found, at most ``chunk_size`` of them; of what was scored before the row is known."""
        started_s = time.perf_counter()
        files = await self._read(chunk)
        if self._known is None:
            return await self._scorer.score(files, self._threads, started_s)
        rows, unknown = list[Row](), list[ReadFile]()
        for file in files:
            known = self._known.row(file, ms_since(started_s))
            unknown.append(file) if known is None else rows.append(known)
        for row in await self._scorer.score(unknown, self._threads, started_s) if unknown else ():
            self._known.keep(row)
            rows.append(row)
        return rows

    def stop_retrying(self) -> None:
        """From now on a failed request is an error row at once."""
        self._scorer.stop_retrying()

    async def _read(self, chunk: Sequence[Found]) -> list[ReadFile]:
        reading = [self._reading.read(found) for found in chunk]
        return [await file for file in reading]  # gather would cost a task for each


def _limit(options: ScoreOptions) -> Limit:
    if options.concurrency != "auto":
        return Limit(options.concurrency)
    if options.way == "local":  # no requests to learn from; two images for each core keep it busy
        return Limit(2 * len(os.sched_getaffinity(0)))
    return Limit.auto()
