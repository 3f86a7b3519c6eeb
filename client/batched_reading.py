"""Reading in threads, several files to a turn: waking a thread and the event loop costs more than a small file."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from concurrent.futures import Executor
from functools import partial
from typing import NamedTuple

from client.reading import ReadFile, read_input
from client.sources import stores
from client.sources.found import Found
from lnclip.media import IMAGE_ENDINGS

MOST_TOGETHER = 8
"""On a slow disk the others of a turn wait."""


class _Wanted(NamedTuple):
    found: Found
    file: asyncio.Future[ReadFile]


class BatchedReading:
    """Reads what was asked for in the same step of the event loop, a few files in each thread's turn."""

    def __init__(self, threads: Executor) -> None:
        self._threads = threads
        self._wanted: list[_Wanted] = []

    def read(self, found: Found) -> asyncio.Future[ReadFile]:
        """What ``read_input`` answers; inside a running event loop."""
        loop = asyncio.get_running_loop()
        if stores.is_url(found.path) or not found.path.lower().endswith(IMAGE_ENDINGS):
            return loop.run_in_executor(self._threads, read_input, found)  # the network, a video: nobody waits for it
        if not self._wanted:
            loop.call_soon(self._begin)
        self._wanted.append(_Wanted(found, loop.create_future()))
        return self._wanted[-1].file

    def _begin(self) -> None:
        wanted, self._wanted = self._wanted, []
        for start in range(0, len(wanted), MOST_TOGETHER):
            turn = wanted[start : start + MOST_TOGETHER]
            finds = [each.found for each in turn]
            reading = asyncio.get_running_loop().run_in_executor(self._threads, _read_all, finds)
            reading.add_done_callback(partial(_deliver, turn))


def _read_all(finds: Iterable[Found]) -> list[ReadFile]:
    return [read_input(found) for found in finds]


def _deliver(turn: Iterable[_Wanted], reading: asyncio.Future[list[ReadFile]]) -> None:
    """To those who still wait."""
    if reading.cancelled():
        for each in turn:
            each.file.cancel()
        return
    failure = reading.exception()
    for place, each in enumerate(turn):
        if each.file.done():
            continue
        if failure is None:
            each.file.set_result(reading.result()[place])
        else:
            each.file.set_exception(failure)
