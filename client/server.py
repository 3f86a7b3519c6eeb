"""One Triton: its channel, its breaker, and single questions to it. Trying again is for ``servers``."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import grpc  # type: ignore[import-untyped]
from tritonclient.grpc import InferResult, KeepAliveOptions, service_pb2
from tritonclient.grpc.aio import InferenceServerClient
from tritonclient.utils import InferenceServerException

from client.breaker import Breaker
from client.calling import CallError, explain

log = logging.getLogger(__name__)

CHECK_S = 10.0
"""Longest deadline of the question at the beginning."""


class Server:
    """A gRPC channel: many requests in flight over one connection."""

    def __init__(self, url: str) -> None:
        """Inside a running event loop; nothing is sent yet."""
        self.url = url
        self.client = InferenceServerClient(url, channel_args=_channel_options(url))
        self._channel = grpc.aio.insecure_channel(url, options=_channel_options(url))  # gRPC connects both once
        self._model_infer = self._channel.unary_unary(
            "/inference.GRPCInferenceService/ModelInfer",
            response_deserializer=service_pb2.ModelInferResponse.FromString,
        )
        self.breaker = Breaker()
        self.in_flight = 0

    async def problem(self, model: str, timeout_s: float) -> str | None:
        """Why it cannot serve ``model`` and what to do, or None."""
        timeout_s = min(CHECK_S, timeout_s)
        try:
            ready = await self.client.is_model_ready(model, client_timeout=timeout_s)
        except InferenceServerException as error:
            hint = "python -m server start, or give --url HOST:PORT (its gRPC address)"
            return f"no Triton answers at {self.url} ({explain(error, timeout_s)}): {hint}"
        return (
            None if ready else f"Triton at {self.url} runs without {model}: python -m server status, or publish a model"
        )

    async def input_shape(self, model: str, timeout_s: float) -> tuple[int, ...]:
        """Shape of a model's first input, with its batch dimension.

        Raises:
            CallError: the server does not say.
        """
        try:
            metadata = await self.client.get_model_metadata(model, client_timeout=timeout_s)
        except InferenceServerException as error:
            raise explain(error, timeout_s) from error
        return tuple(metadata.inputs[0].shape)

    async def send(self, message: bytes, timeout_s: float) -> InferResult:
        """A request that was serialised before; see ``wire``.

        Raises:
            InferenceServerException: no answer.
        """
        try:
            return InferResult(await self._model_infer(message, timeout=timeout_s))
        except grpc.aio.AioRpcError as error:
            raise InferenceServerException(error.details(), str(error.code())) from error

    async def ask(self, question: Question, timeout_s: float, *, is_trial: bool) -> InferResult | CallError:
        """The answer, or why there is none; ``is_trial`` as the breaker said."""
        self.in_flight += 1
        try:
            result = await question(self, timeout_s)
        except InferenceServerException as error:
            failure = explain(error, timeout_s)
            self._note(failure, is_trial=is_trial)
            return failure
        except BaseException:  # given up by the caller
            self.breaker.abandoned(trial=is_trial)
            raise
        finally:
            self.in_flight -= 1
        self._note(None, is_trial=is_trial)
        return result

    async def close(self) -> None:
        """What is in flight is cancelled."""
        await self.client.close()
        await self._channel.close()

    def _note(self, failure: CallError | None, *, is_trial: bool) -> None:
        was_closed = self.breaker.is_closed
        if failure is not None and failure.is_away:
            self.breaker.failed(trial=is_trial)
        else:
            self.breaker.answered()
        if was_closed and not self.breaker.is_closed:
            log.warning("%s is left alone for now: %s", self.url, failure)
        elif self.breaker.is_closed and not was_closed:
            log.warning("%s answers again", self.url)


Question = Callable[[Server, float], Awaitable[InferResult]]
"""One inference that is put to whichever server, with its deadline in seconds; raises InferenceServerException."""


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
