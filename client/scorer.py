"""Scoring from anywhere: ``Scorer`` is ``AsyncScorer`` for code without an event loop, notebooks included."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterable, Iterator, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self, TypeVar

from client.async_scorer import AsyncScorer, StrPath
from client.options import ScoreOptions
from client.rows import Row

T = TypeVar("T")


class Scorer:
    """Scores files through one connection; ``with Scorer() as scorer``, or ``close()`` it.

    An event loop of its own runs in a thread, so it works where another loop runs already.
    """

    def __init__(self, urls: str | Sequence[str] | None = None, options: ScoreOptions | None = None) -> None:
        """Connect.

        Args:
            urls: gRPC address of a server, or of several; None is the one that runs from the working directory.
            options: how to score.

        Raises:
            ConfigError: a request parameter has a value that cannot be.
            ServerError: the server cannot be reached, or serves something else.
            SpecError: for crops: the encoder was trained for another spec.
        """
        self._scorer = AsyncScorer(urls, options)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="scorer", daemon=True)
        self._thread.start()
        with ExitStack() as undo:
            undo.callback(self._end_loop)
            self._wait(self._scorer.__aenter__())
            undo.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def score(self, image: StrPath | bytes) -> Row:
        """One file or URL, or the bytes of an image. Trouble with it is in the row, never raised."""
        return self._wait(self._scorer.score(image))

    def score_many(self, paths: Iterable[StrPath]) -> Iterator[Row]:
        """Whatever ``client.sources`` finds there: a row for each input, in order of completion."""
        rows = self._scorer.score_many(paths)

        async def following() -> Row | None:
            return await anext(rows, None)

        try:
            while (row := self._wait(following())) is not None:
                yield row
        finally:
            if not self._loop.is_closed():  # an error in the caller's loop lets this one go on after close()
                self._wait(rows.aclose())

    def close(self) -> None:
        """Close the connection; once is enough, twice does no harm."""
        if self._loop.is_closed():
            return
        self._wait(self._loop.shutdown_asyncgens())
        self._wait(self._scorer.__aexit__(None, None, None))
        self._end_loop()

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _end_loop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
