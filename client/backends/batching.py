"""Crops of images in flight, joined: as soon as the encoder is free it gets all that wait.

Nobody is made to wait for company; while one call runs, the next batch gathers by itself.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import NamedTuple

from client.backends.encoding import CropAnswers, Crops
from client.calling import CallError

EncodeEach = Callable[[Sequence[Crops]], Awaitable[Sequence[CropAnswers | CallError]]]
"""Scores the crops of several images in one call: an answer or an error for each image."""


class _Waiting(NamedTuple):
    crops: Crops
    answer: asyncio.Future[CropAnswers]


class Batching:
    """Joins the crops of concurrent images; lives in one event loop."""

    def __init__(self, encode_each: EncodeEach, largest: int, calls: int) -> None:
        """Nothing is called before there are crops.

        Args:
            encode_each: scores a batch.
            largest: crops in one call; an image that has more goes alone.
            calls: that may run at once.
        """
        self._encode_each = encode_each
        self._largest = largest
        self._calls = calls
        self._running = 0
        self._waiting: deque[_Waiting] = deque()

    async def encode(self, crops_NHWC: Crops) -> CropAnswers:
        """Score the crops of one image.

        Raises:
            CallError: these crops, or the call, got no answer.
            EngineError: the call's answer is not what the contract says.
        """
        waiting = _Waiting(crops_NHWC, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        self._begin()
        return await waiting.answer

    def _begin(self) -> None:
        while self._running < self._calls and (batch := self._take()):
            self._running += 1
            call = asyncio.ensure_future(self._encode_each([waiting.crops for waiting in batch]))
            call.add_done_callback(partial(self._end, batch))

    def _take(self) -> list[_Waiting]:
        """Those that wait longest, as many as fit; crops of another side, after a reload, wait for the next call."""
        batch: list[_Waiting] = []
        room = self._largest
        while self._waiting:
            first = self._waiting[0]
            if first.answer.done():  # its image was given up
                self._waiting.popleft()
                continue
            fits = len(first.crops) <= room and first.crops.shape[1:] == batch[0].crops.shape[1:] if batch else True
            if not fits:
                break
            room -= len(first.crops)
            batch.append(self._waiting.popleft())
        return batch

    def _end(self, batch: list[_Waiting], call: asyncio.Future[Sequence[CropAnswers | CallError]]) -> None:
        self._running -= 1
        failure = None if call.cancelled() else call.exception()
        for index, waiting in enumerate(batch):
            if waiting.answer.done():
                continue
            outcome = failure or (None if call.cancelled() else call.result()[index])
            if outcome is None:
                waiting.answer.cancel()
            elif isinstance(outcome, BaseException):
                waiting.answer.set_exception(outcome)
            else:
                waiting.answer.set_result(outcome)
        self._begin()
