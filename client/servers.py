"""Requests to one Triton or several: the least loaded first, failover, retries, and waiting for a restart.

Each attempt takes a place in the limit and goes to that server with the fewest requests in flight whose
breaker lets it. A failure that may pass is tried again on another server at once, or after a pause when
all were tried. While every breaker is open requests wait, without a place and without using up their
retries, until one server's trial goes through; see ``CallPolicy.patience_s``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Sequence
from contextlib import AsyncExitStack, suppress
from types import TracebackType
from typing import NamedTuple, Self

from tritonclient.grpc import InferInput, InferRequestedOutput, InferResult

from client.calling import CallError, CallPolicy, Parameters, RetryBudget
from client.limits import Limit
from client.patience import Patience
from client.server import Question, Server
from lnclip.errors import ServerError
from lnclip.running import grpc_url

log = logging.getLogger(__name__)

LOOK_S = 1.0
"""While the server that runs from here is away, its address is looked up so often."""


class _Attempt(NamedTuple):
    server: Server
    outcome: InferResult | CallError
    is_trial: bool
    took_s: float


class Servers:
    """Connections to servers that are taken to serve the same; an asynchronous context manager."""

    def __init__(self, urls: Sequence[str] | None, policy: CallPolicy, limit: Limit) -> None:
        """Connects when entered, inside a running event loop.

        Args:
            urls: gRPC addresses; None is the server that runs from here, wherever it comes back after a restart.
            policy: what one request may cost.
            limit: how many may be in flight on all servers together.

        Raises:
            ServerError: an address is none; or none is given, and no server runs from here.
        """
        self._may_move = urls is None
        self.urls = tuple(grpc_url(url) for url in dict.fromkeys(urls or (None,)))
        self.policy = policy
        self.limit = limit
        self.budget = RetryBudget(policy.budget)
        self._servers: list[Server] = []
        self._left: list[Server] = []  # at addresses where there is none any more
        self._turn = 0
        self._patience = Patience(policy.patience_s)
        self._is_waited_for = False
        self._news = asyncio.Event()
        """Set, and replaced, when those who wait for a server should look again."""

        self._stopping = asyncio.Event()

    async def __aenter__(self) -> Self:
        """Open the channels; nothing is sent yet."""
        self._servers = [Server(url) for url in self.urls]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close them; what is in flight is cancelled."""
        async with AsyncExitStack() as closing:
            for server in (*self._servers, *self._left):
                closing.push_async_callback(server.close)

    async def check_ready(self, model: str) -> None:
        """Ask every server once whether it serves ``model``; one is enough, the others are left alone for now.

        Raises:
            ServerError: none does; the message names each and says what to do.
        """
        problems = await asyncio.gather(*(server.problem(model, self.policy.timeout_s) for server in self._servers))
        if all(problems):
            raise ServerError("; ".join(filter(None, problems)))
        for server, problem in zip(self._servers, problems, strict=True):
            if problem is not None:
                server.breaker.trip()
                log.warning("%s. Going on with the other servers", problem)

    async def input_shape(self, model: str) -> tuple[int, ...]:
        """Shape of a model's first input, with its batch dimension.

        Raises:
            CallError: no server says.
        """
        *others, last = sorted(self._servers, key=lambda server: server.breaker.wait_s)
        for server in others:
            with suppress(CallError):
                return await server.input_shape(model, self.policy.timeout_s)
        return await last.input_shape(model, self.policy.timeout_s)

    def stop_retrying(self) -> None:
        """From now on a request that failed, or that waits for a server, is an error at once."""
        self.budget.close()
        self._stopping.set()
        self._tell_waiting()

    async def infer(
        self,
        model: str,
        inputs: Sequence[InferInput],
        *,
        outputs: Sequence[str],
        parameters: Parameters | None = None,
    ) -> InferResult:
        """One request, tried again where that makes sense.

        Raises:
            CallError: no answer.
        """
        wanted = [InferRequestedOutput(name) for name in outputs]

        def ask(server: Server, timeout_s: float) -> Awaitable[InferResult]:
            answer: Awaitable[InferResult] = server.client.infer(
                model, inputs, outputs=wanted, client_timeout=timeout_s, parameters=parameters
            )
            return answer

        return await self._persist(ask)

    async def send(self, message: bytes) -> InferResult:
        """The same with a request that was serialised before; see ``wire``.

        Raises:
            CallError: no answer.
        """
        return await self._persist(lambda server, timeout_s: server.send(message, timeout_s))

    async def _persist(self, question: Question) -> InferResult:
        retries, left_s, rounds = self.policy.retries, 2 * self.policy.timeout_s, 0
        tried: set[Server] = set()
        while True:
            await self._until_one_may_be_asked()
            attempt = await self._attempt(question, tried, left_s)
            if attempt is None:
                continue
            if not isinstance(attempt.outcome, CallError):
                return attempt.outcome
            failure = attempt.outcome
            if not failure.retryable or self._stopping.is_set():
                raise failure
            tried.add(attempt.server)
            if attempt.is_trial and failure.is_away:
                continue  # what it learnt is for all: it costs this request nothing
            retries -= 1
            left_s -= attempt.took_s
            if retries < 0 or not (failure.is_away or self.budget.take()):
                raise failure
            if not any(server.breaker.allows for server in self._servers if server not in tried):
                left_s -= await self._pause(rounds)
                rounds += 1
                tried.clear()
            if left_s <= 0:
                raise failure

    async def _attempt(self, question: Question, tried: set[Server], left_s: float) -> _Attempt | None:
        """Send once; None when no server may be asked any more, now that there is a place."""
        loop = asyncio.get_running_loop()
        async with self.limit:
            server = self._choose(tried)
            if server is None:
                return None
            is_trial = server.breaker.begin()
            started_s = loop.time()
            try:
                outcome = await server.ask(question, min(self.policy.timeout_s, left_s), is_trial=is_trial)
            finally:
                if is_trial:
                    self._tell_waiting()
        if isinstance(outcome, CallError) and outcome.is_away:
            self._patience.failed(outcome.error, loop.time())
        else:
            self._answered(went_well=not isinstance(outcome, CallError))
        return _Attempt(server, outcome, is_trial, loop.time() - started_s)

    def _choose(self, tried: set[Server]) -> Server | None:
        """Of those that may be asked the least loaded one, ties by turns; one that was not tried if there is any."""
        self._turn = (self._turn + 1) % len(self._servers)
        in_turn = self._servers[self._turn :] + self._servers[: self._turn]
        allowed = [server for server in in_turn if server.breaker.allows]
        allowed = [server for server in allowed if server not in tried] or allowed
        return min(allowed, key=lambda server: server.in_flight, default=None)

    def _answered(self, *, went_well: bool) -> None:
        self._patience.answered()
        if went_well:
            self.budget.refill()
        if self._is_waited_for:
            self._is_waited_for = False
            self.limit.restart_window()
            self._tell_waiting()

    async def _until_one_may_be_asked(self) -> None:
        """Wait for a server.

        Raises:
            CallError: patience is over; the reason is the last one of any request.
        """
        while not self._one_may_be_asked():
            patience_s = self._patience.left_s(asyncio.get_running_loop().time())
            if self._stopping.is_set() or patience_s <= 0:
                raise self._patience.refusal(is_over=patience_s <= 0)
            if not self._is_waited_for:
                self._is_waited_for = True
                log.warning("no server answers; files wait up to %.0f s for one", patience_s)
            look_s = LOOK_S if self._may_move else patience_s
            await _wait(self._news, min(patience_s, look_s, *(server.breaker.wait_s for server in self._servers)))

    def _one_may_be_asked(self) -> bool:
        if self._may_move and not self._servers[0].breaker.allows:
            with suppress(ServerError):  # still none
                url = grpc_url(None)
                if url != self._servers[0].url:
                    self._left += self._servers
                    self._servers, self.urls = [Server(url)], (url,)
        return any(server.breaker.allows for server in self._servers)

    def _tell_waiting(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    async def _pause(self, rounds: int) -> float:
        """Between two rounds over all servers; seconds it took."""
        loop = asyncio.get_running_loop()
        started_s = loop.time()
        await _wait(self._stopping, self.policy.pause_s(rounds))
        return loop.time() - started_s


async def _wait(event: asyncio.Event, timeout_s: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            await event.wait()
