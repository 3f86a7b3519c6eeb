"""From a walk to rows: a bounded number of chunks in flight, so memory is flat in the number of files."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from dataclasses import dataclass

from client.rows import Row
from client.walking import Found

LOOK_AHEAD = 64
LOOK_S = 0.2
"""One step of the walk ends after that many finds, or that time."""


@dataclass
class WalkCount:
    """What the walk came across so far."""

    files: int = 0
    skipped: int = 0
    duplicates: int = 0
    finished: bool = False


class Pipeline:
    """One walk, scored chunk by chunk."""

    def __init__(
        self,
        finds: Iterator[Found],
        score: Callable[[list[Found]], Awaitable[list[Row]]],
        *,
        concurrency: int,
        chunk_size: int,
    ) -> None:
        """``score`` gets ``chunk_size`` files (the last ones fewer), in ``concurrency`` calls at once."""
        self.count = WalkCount()
        self._finds = finds
        self._score = score
        self._concurrency = concurrency
        self._chunk_size = chunk_size
        self._backlog: deque[Found] = deque()
        self._stopping = False

    def stop(self) -> None:
        """Begin nothing new: ``run`` ends with what is in flight."""
        self._stopping = True
        self._backlog.clear()

    async def run(self) -> AsyncGenerator[list[Row], None]:
        """Rows that were completed together, chunk by chunk, in order of completion."""
        walking: asyncio.Task[list[Found]] | None = None
        in_flight: set[asyncio.Task[list[Row]]] = set()
        try:
            while True:
                if walking is None and self._wants_more():
                    walking = asyncio.create_task(asyncio.to_thread(self._look_ahead))
                while len(in_flight) < self._concurrency and (chunk := self._next_chunk()):
                    in_flight.add(asyncio.ensure_future(self._score(chunk)))
                waiting: set[asyncio.Task[list[Found]] | asyncio.Task[list[Row]]] = {*in_flight}
                if walking is not None:
                    waiting.add(walking)
                if not waiting:
                    return
                done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                if walking is not None and walking.done():
                    self._accept(walking.result())
                    walking = None
                for task in [task for task in in_flight if task in done]:
                    in_flight.remove(task)
                    yield task.result()
        finally:
            for task in in_flight:
                task.cancel()
            if walking is not None:
                walking.cancel()

    def _wants_more(self) -> bool:
        return not (self.count.finished or self._stopping) and len(self._backlog) < max(LOOK_AHEAD, self._chunk_size)

    def _next_chunk(self) -> list[Found]:
        """Empty while a fuller one is on its way."""
        if len(self._backlog) < self._chunk_size and not self.count.finished:
            return []
        return [self._backlog.popleft() for _ in range(min(self._chunk_size, len(self._backlog)))]

    def _look_ahead(self) -> list[Found]:
        """One step of the walk; blocking."""
        end_s = time.monotonic() + LOOK_S
        finds: list[Found] = []
        for found in self._finds:
            finds.append(found)
            if len(finds) >= max(LOOK_AHEAD, self._chunk_size) or time.monotonic() > end_s:
                return finds
        self.count.finished = True
        return finds

    def _accept(self, finds: list[Found]) -> None:
        for found in finds:
            match found.what:
                case "skipped":
                    self.count.skipped += 1
                case "duplicate":
                    self.count.duplicates += 1
                case "file" | "folder":
                    self.count.files += 1
                    if not self._stopping:
                        self._backlog.append(found)
