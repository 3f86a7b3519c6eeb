"""One request to Triton: its deadline, which failures are tried again, and for how long.

tritonclient retries nothing. Here UNAVAILABLE (refused, restarting, a full queue), CANCELLED (a
server that shuts down) and RESOURCE_EXHAUSTED (a proxy's limit) are tried again; a request that is
itself wrong, a model that fails and a deadline that has passed are not: they would only add load.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import tenacity
from tritonclient.grpc import InferInput, InferRequestedOutput, InferResult, KeepAliveOptions
from tritonclient.grpc.aio import InferenceServerClient
from tritonclient.utils import InferenceServerException

from client.rows import RowError
from lnclip.errors import ServerError

log = logging.getLogger(__name__)

RETRYABLE = frozenset(("unavailable", "cancelled", "resource_exhausted"))
Parameters = Mapping[str, int | float | str]


@dataclass(frozen=True, kw_only=True)
class CallPolicy:
    """How long one file may take."""

    timeout_s: float = 60.0
    """Deadline of one attempt. All attempts of a file together end within twice that."""

    retries: int = 6
    """After the first attempt. With the pauses below six of them bridge about 10 s without a server."""

    first_pause_s: float = 0.25
    """Doubled after every attempt, up to the next; a random part of up to ``first_pause_s`` is added."""

    longest_pause_s: float = 5.0

    budget: float = 200.0
    """Retries that may be spent before any success; see ``RetryBudget``. Less than ``retries`` for each
    request in flight would give up before one of them has had its own."""


class RetryBudget:
    """Retries shared by all files: a server that is gone for good must not cost every file its pauses.

    Source: gRPC proposal A6, retry throttling: a retry takes one token, a success brings back a tenth.
    """

    def __init__(self, tokens: float) -> None:
        self._full = self._tokens = tokens

    def take(self) -> bool:
        """Whether one more retry may be made."""
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def refill(self) -> None:
        """A request went through."""
        self._tokens = min(self._full, self._tokens + 0.1)

    def close(self) -> None:
        """No retries from now on."""
        self._full = self._tokens = 0


class CallError(ServerError):
    """A request that got no answer; what a row says about it is ``error``."""

    def __init__(self, error: RowError, *, retryable: bool) -> None:
        super().__init__(f"{error.code}: {error.message}")
        self.error = error
        self.retryable = retryable


def explain(error: InferenceServerException, timeout_s: float) -> CallError:
    """What Triton or gRPC said, as a row's error.

    Triton puts "in ensemble 'NAME', " before a step's message. An image that cannot be read is
    INVALID_ARGUMENT with ``code: reason`` (``lnclip.errors.ImageError``).
    """
    status = (error.status() or "unknown").removeprefix("StatusCode.").lower()
    message = re.sub(r"^in ensemble '[^']*', ", "", error.message() or "no reason was given")
    if status == "invalid_argument" and (coded := re.match(r"([a-z][a-z0-9_]*): (.*)$", message, re.DOTALL)):
        return CallError(RowError(code=coded[1], message=coded[2]), retryable=False)
    if status == "deadline_exceeded":
        message = f"no answer within {timeout_s:.3g} s"
    too_large = status == "resource_exhausted" and "larger than max" in message
    return CallError(RowError(code=status, message=message), retryable=status in RETRYABLE and not too_large)


class Triton:
    """A gRPC connection to one server: many requests in flight over one channel."""

    def __init__(self, url: str, policy: CallPolicy) -> None:
        """Connects when entered, inside a running event loop."""
        self.url = url
        self.policy = policy
        self.budget = RetryBudget(policy.budget)

    async def __aenter__(self) -> Self:
        """Open the channel; nothing is sent yet."""
        self._client = InferenceServerClient(self.url, channel_args=_channel_options(self.url))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close it; what is in flight is cancelled."""
        await self._client.close()

    async def check_ready(self, model: str) -> None:
        """Ask once whether the server can be reached and serves ``model``.

        Raises:
            ServerError: it cannot, or does not; the message says what to do.
        """
        timeout_s = min(10.0, self.policy.timeout_s)
        try:
            ready = await self._client.is_model_ready(model, client_timeout=timeout_s)
        except InferenceServerException as error:
            reason = explain(error, timeout_s)
            hint = "python -m server start, or give --url HOST:PORT (its gRPC address)"
            raise ServerError(f"no Triton answers at {self.url} ({reason}): {hint}") from error
        if not ready:
            raise ServerError(f"Triton at {self.url} runs without {model}: python -m server status, or publish a model")

    async def input_shape(self, model: str) -> tuple[int, ...]:
        """Shape of a model's first input, with its batch dimension.

        Raises:
            CallError: the server does not say.
        """
        try:
            metadata = await self._client.get_model_metadata(model, client_timeout=self.policy.timeout_s)
        except InferenceServerException as error:
            raise explain(error, self.policy.timeout_s) from error
        return tuple(metadata.inputs[0].shape)

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
        loop = asyncio.get_running_loop()
        end_s = loop.time() + 2 * self.policy.timeout_s
        wanted = [InferRequestedOutput(name) for name in outputs]
        async for attempt in self._retrying():
            with attempt:
                timeout_s = min(self.policy.timeout_s, max(end_s - loop.time(), 0.001))
                try:
                    result = await self._client.infer(
                        model, inputs, outputs=wanted, client_timeout=timeout_s, parameters=parameters
                    )
                except InferenceServerException as error:
                    raise explain(error, timeout_s) from error
        self.budget.refill()
        return result

    def _retrying(self) -> tenacity.AsyncRetrying:
        policy, first_s = self.policy, self.policy.first_pause_s
        return tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception(self._may_retry),
            stop=tenacity.stop_after_attempt(policy.retries + 1) | tenacity.stop_before_delay(2 * policy.timeout_s),
            wait=tenacity.wait_exponential(first_s, policy.longest_pause_s) + tenacity.wait_random(0, first_s),
            before_sleep=tenacity.before_sleep_log(log, logging.DEBUG),
            reraise=True,
        )

    def _may_retry(self, error: BaseException) -> bool:
        return isinstance(error, CallError) and error.retryable and self.budget.take()


def _channel_options(url: str) -> list[tuple[str, int]]:
    """No cap on messages, a quick return after a restart, and no proxy on the way to this machine."""
    keep_alive = KeepAliveOptions()
    options = [
        ("grpc.max_send_message_length", -1),
        ("grpc.max_receive_message_length", -1),
        ("grpc.keepalive_time_ms", keep_alive.keepalive_time_ms),
        ("grpc.keepalive_timeout_ms", keep_alive.keepalive_timeout_ms),
        ("grpc.initial_reconnect_backoff_ms", 200),
        ("grpc.max_reconnect_backoff_ms", 2000),
    ]
    if url.rpartition(":")[0] in ("localhost", "127.0.0.1", "[::1]"):
        options.append(("grpc.enable_http_proxy", 0))
    return options
