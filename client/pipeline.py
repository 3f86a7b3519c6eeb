"""From a search to rows: a bounded number of chunks in flight, so memory is flat in the number of inputs."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeVar

from client.limits import Limit
from client.rows import Row
from client.sources.finding import Found

T = TypeVar("T")

LOOK_AHEAD = 64
LOOK_S = 0.2
"""One step of the search ends after that many finds, or that time."""

Standing = Literal["new", "kept", "duplicate"]
"""Of an input: to be scored; scored by an earlier run, unchanged since; given before in this run."""


@dataclass
class FoundCount:
    """What the search came across so far."""

    inputs: int = 0
    """With those that are kept."""

    kept: int = 0
    skipped: int = 0
    duplicates: int = 0
    finished: bool = False


class _Step(NamedTuple):
    finds: list[Found]
    standings: Sequence[Standing]
    """Of those finds that are inputs."""

    is_last: bool


class Pipeline:
    """One search, scored chunk by chunk."""

    def __init__(
        self,
        finds: Iterator[Found],
        score: Callable[[list[Found]], Awaitable[list[Row]]],
        *,
        limit: Limit,
        chunk_size: int,
        recall: Callable[[Sequence[Found]], Sequence[Standing]] = lambda inputs: ["new"] * len(inputs),
    ) -> None:
        """Nothing is looked for before ``run``.

        Args:
            finds: what to score; taken in a thread, only as far ahead as is needed.
            score: gets ``chunk_size`` inputs (the last ones fewer); what it sends, it sends within ``limit``.
            limit: may change while the pipeline runs.
            chunk_size: inputs that are scored together.
            recall: says which inputs need no scoring; called in the same thread.
        """
        self.count = FoundCount()
        self._finds = finds
        self._score = score
        self._limit = limit
        self._chunk_size = chunk_size
        self._recall = recall
        self._backlog: deque[Found] = deque()
        self._stopping = False
        self._news = asyncio.Event()
        """asyncio.wait would look at every task in flight whenever one completes."""

    def stop(self) -> None:
        """Begin nothing new: ``run`` ends with what is in flight."""
        self._stopping = True
        self._backlog.clear()
        self._news.set()

    async def run(self) -> AsyncGenerator[list[Row], None]:
        """Rows that were completed together, in order of completion; none when only the search went on."""
        searching: asyncio.Future[_Step] | None = None
        in_flight: set[asyncio.Future[list[Row]]] = set()
        completed: list[asyncio.Future[list[Row]]] = []

        def complete(task: asyncio.Future[list[Row]]) -> None:
            in_flight.remove(task)
            completed.append(task)
            self._news.set()

        try:
            while True:
                if searching is None and self._wants_more():
                    searching = _in_daemon(self._search_on)
                    searching.add_done_callback(lambda _: self._news.set())
                if len(in_flight) <= self._limit.value:  # several begin together: their files are read in one turn
                    while len(in_flight) < self._most_in_flight() and (chunk := self._next_chunk()):
                        task: asyncio.Future[list[Row]] = asyncio.ensure_future(self._score(chunk))
                        task.add_done_callback(complete)
                        in_flight.add(task)
                rows = [row for task in completed for row in task.result()]
                completed.clear()
                yield rows  # only now: the next requests are on their way while the caller stores these
                if not (in_flight or completed or (searching is not None and not self._stopping)):
                    return
                await self._news.wait()
                self._news.clear()
                if searching is not None and searching.done():
                    self._accept(searching.result())
                    searching = None
        finally:
            for unfinished in in_flight:
                unfinished.cancel()
            if searching is not None:
                searching.cancel()

    def _wants_more(self) -> bool:
        return not (self.count.finished or self._stopping) and len(self._backlog) < max(LOOK_AHEAD, self._chunk_size)

    def _most_in_flight(self) -> int:
        """More than may be sent at once: the next ones are read and hashed meanwhile."""
        return self._limit.value + max(2, self._limit.value // 2)

    def _next_chunk(self) -> list[Found]:
        """Empty while a fuller one is on its way."""
        if len(self._backlog) < self._chunk_size and not self.count.finished:
            return []
        return [self._backlog.popleft() for _ in range(min(self._chunk_size, len(self._backlog)))]

    def _search_on(self) -> _Step:
        """One step of the search; blocking."""
        end_s = time.monotonic() + LOOK_S
        finds: list[Found] = []
        is_last = True
        for found in self._finds:
            finds.append(found)
            if len(finds) >= max(LOOK_AHEAD, self._chunk_size) or time.monotonic() > end_s:
                is_last = False
                break
        return _Step(finds, self._recall([found for found in finds if found.what == "input"]), is_last)

    def _accept(self, step: _Step) -> None:
        self.count.finished = step.is_last
        standings = iter(step.standings)
        for found in step.finds:
            if found.what == "skipped":
                self.count.skipped += 1
            elif found.what == "duplicate" or (standing := next(standings)) == "duplicate":
                self.count.duplicates += 1
            else:
                self.count.inputs += 1
                self.count.kept += standing == "kept"
                if standing == "new" and not self._stopping:
                    self._backlog.append(found)


def _in_daemon(call: Callable[[], T]) -> asyncio.Future[T]:
    """As ``asyncio.to_thread``, but nothing waits for the thread at the end: a list on stdin may pause for ever."""
    outcome: Future[T] = Future()
    outcome.set_running_or_notify_cancel()

    def work() -> None:
        try:
            outcome.set_result(call())
        except BaseException as error:  # noqa: BLE001 - raised where the outcome is awaited
            outcome.set_exception(error)

    threading.Thread(target=work, name="search", daemon=True).start()
    return asyncio.wrap_future(outcome)
