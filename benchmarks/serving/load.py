"""One process of the load generator: it sends prepared requests at a stated load and reports how each went.

Closed loop: so many requests are outstanding; the next is sent when one is answered. Open loop: starts are drawn
from a Poisson process and kept whatever the server does, and a request's latency counts from its intended start, so
a server that stalls cannot hide the requests that it kept waiting.

Times are time.monotonic, which all processes of a machine share. Little is imported: it starts for every load.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle
from multiprocessing.connection import Connection
from typing import NamedTuple

import grpc  # type: ignore[import-untyped]
import numpy as np
from tritonclient.grpc import service_pb2

from benchmarks.serving.measured import Exchange, Load

REPORT_EVERY_S = 0.05
TIMEOUT_S = 300.0
"""Of one request: 64 in flight at one a second wait a minute for their turn."""

PAUSE_S = 0.01
"""A closed loop's place waits that long after a failure: a server that refuses at once must not make this spin."""

MOST_OUTSTANDING = 1024
"""Of an open loop, all its processes together; a request beyond that is an error: ``backlog``."""

BACKLOG = "backlog"
TIMER_S = 0.001
"""What an event loop's timer may be late: the last of the way to an intended start is slept through."""

DRAIN_S = 20.0
"""Requests that are outstanding at the end are waited for that long, so that they do not weigh on the next load."""

METHOD = "/inference.GRPCInferenceService/ModelInfer"
OPTIONS = (("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1))


@dataclass(frozen=True, kw_only=True)
class Task:
    """What one process does."""

    grpc_url: str
    load: Load
    """Its share of it."""

    messages: Sequence[bytes]
    """Whole requests; sent in turn, again and again."""

    faces_output: str
    """Whose first dimension counts faces; empty: an answer is one face."""

    most_outstanding: int
    seed: tuple[int, ...]
    """Of the intended starts."""


class Report(NamedTuple):
    """What happened in one process since its report before."""

    until_s: float
    """All that ended before is reported."""

    arrived: int
    """Requests whose intended start has come."""

    exchanges: list[Exchange]


def shares(task: Task, processes: int) -> list[Task]:
    """The same load and requests, dealt to so many processes.

    A Poisson process is the sum of slower ones, so each has starts of its own.
    """
    given = []
    for number in range(processes):
        if task.load.kind == "concurrency":
            value = float(len(range(number, int(task.load.value), processes)))
        else:
            value = task.load.value / processes
        given.append(
            Task(
                grpc_url=task.grpc_url,
                load=Load(task.load.kind, value),
                messages=task.messages[number::processes] or task.messages,
                faces_output=task.faces_output,
                most_outstanding=max(1, task.most_outstanding // processes),
                seed=(*task.seed, number),
            )
        )
    return given


def generate(task: Task, pipe: Connection) -> None:
    """Send until told to stop: one message through the pipe to begin, one to end; reports come back."""
    pipe.send(None)
    pipe.recv()
    asyncio.run(_Sender(task, pipe).run())


class _Sender:
    """Requests in flight, and what is known of those that ended."""

    def __init__(self, task: Task, pipe: Connection) -> None:
        self._task, self._pipe = task, pipe
        self._messages: Iterator[bytes] = cycle(task.messages)
        self._ended: list[Exchange] = []
        self._arrived = 0
        self._stopping = False
        self._outstanding: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        async with grpc.aio.insecure_channel(self._task.grpc_url, options=OPTIONS) as channel:
            self._infer = channel.unary_unary(METHOD)
            if self._task.load.kind == "concurrency":
                running = [asyncio.create_task(self._keep_one()) for _ in range(int(self._task.load.value))]
            else:
                running = [asyncio.create_task(self._keep_rate())]
            while not self._pipe.poll():
                await asyncio.sleep(REPORT_EVERY_S)
                self._report()
                for ended in filter(asyncio.Task.done, running):
                    ended.result()  # none ends before it is told to, but by a bug
            self._stopping = True
            left = (await asyncio.wait([*running, *self._outstanding], timeout=DRAIN_S))[1]
            for each in left:
                each.cancel()
            await asyncio.gather(*left, return_exceptions=True)

    async def _keep_one(self) -> None:
        """One of a closed loop's requests, again and again."""
        while not self._stopping:
            self._arrived += 1
            exchange = await self._exchange(time.monotonic())
            if exchange.error:
                await asyncio.sleep(PAUSE_S)

    async def _keep_rate(self) -> None:
        """An open loop's starts."""
        draw, intended_s = np.random.default_rng(self._task.seed), time.monotonic()
        while True:
            intended_s += float(draw.exponential(1 / self._task.load.value))
            await asyncio.sleep(max(0.0, intended_s - TIMER_S - time.monotonic()))
            if self._stopping:
                return
            time.sleep(max(0.0, intended_s - time.monotonic()))  # at most TIMER_S: no spinning on the server's cores
            self._arrived += 1
            if len(self._outstanding) < self._task.most_outstanding:
                sending = asyncio.create_task(self._send(intended_s))
                self._outstanding.add(sending)
                sending.add_done_callback(self._outstanding.discard)
            else:
                now_s = time.monotonic()
                self._ended.append(Exchange(intended_s, now_s, now_s, 0.0, -1, BACKLOG))

    async def _send(self, intended_s: float) -> None:
        await self._exchange(intended_s)

    async def _exchange(self, intended_s: float) -> Exchange:
        """Send the next request and note how it went."""
        message, sent_s = next(self._messages), time.monotonic()
        num_faces, error, arrived_s = -1, "", 0.0
        try:
            answer = await self._infer(message, timeout=TIMEOUT_S)
        except grpc.aio.AioRpcError as failure:
            arrived_s = time.monotonic()
            error = f"{failure.code()}\n{failure.details()}"  # `generator` makes a code of it
        else:
            arrived_s = time.monotonic()
            num_faces = count_faces(answer, self._task.faces_output)
        answered_s = time.monotonic()
        exchange = Exchange(intended_s, sent_s, answered_s, answered_s - arrived_s, num_faces, error)
        self._ended.append(exchange)
        return exchange

    def _report(self) -> None:
        self._pipe.send(Report(time.monotonic(), self._arrived, self._ended))
        self._ended = []


def count_faces(answer: bytes, output: str) -> int:
    """Faces that a serialised response scores; one where no output counts them."""
    response = service_pb2.ModelInferResponse.FromString(answer)
    return next((int(tensor.shape[0]) for tensor in response.outputs if tensor.name == output), 1)
