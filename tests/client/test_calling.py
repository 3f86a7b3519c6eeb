"""Deadlines and retries against a real gRPC server, which fails as told."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import numpy as np
import pytest
from tritonclient.grpc import InferInput
from tritonclient.utils import InferenceServerException

from client.calling import CallError, CallPolicy, RetryBudget, Triton, explain
from lnclip.contract import ENSEMBLE
from lnclip.errors import ServerError
from tests.client.peer import Peer, RefusalError, after, ensemble_answer, serve, slow

QUICK = {"first_pause_s": 0.01, "longest_pause_s": 0.05}
NOWHERE = "127.0.0.1:9"


def call(peer: Peer, **policy: float) -> None:
    async def one() -> None:
        with serve(peer) as url:
            async with Triton(url, CallPolicy(**QUICK | policy)) as triton:
                await request(triton)

    asyncio.run(one())


async def request(triton: Triton) -> None:
    tensor = InferInput("image", [1], "BYTES").set_data_from_numpy(np.array([b"picture"], np.object_))
    await triton.infer(ENSEMBLE, [tensor], outputs=["verdict"])


@asynccontextmanager
async def unreachable(policy: CallPolicy) -> AsyncIterator[Triton]:
    async with Triton(NOWHERE, policy) as triton:
        yield triton


@pytest.mark.parametrize("code", ["UNAVAILABLE", "CANCELLED", "RESOURCE_EXHAUSTED"])
def test_tries_again_when_the_server_is_away(code: str) -> None:
    peer = Peer(after([RefusalError(grpc.StatusCode[code])] * 3))
    call(peer)
    assert len(peer.requests) == 4


@pytest.mark.parametrize("code", ["INVALID_ARGUMENT", "INTERNAL", "NOT_FOUND", "UNKNOWN"])
def test_does_not_repeat_what_would_fail_again(code: str) -> None:
    peer = Peer(after([RefusalError(grpc.StatusCode[code], "no")] * 3))
    with pytest.raises(CallError, match="no") as caught:
        call(peer)
    assert len(peer.requests) == 1
    assert caught.value.error.code == code.lower()


def test_a_passed_deadline_is_said_and_not_repeated() -> None:
    peer = Peer(slow(0.5))
    with pytest.raises(CallError, match=r"no answer within 0\.2 s") as caught:
        call(peer, timeout_s=0.2)
    assert caught.value.error.code == "deadline_exceeded"
    assert len(peer.requests) == 1


def test_gives_up_after_the_given_retries() -> None:
    peer = Peer(after([RefusalError(grpc.StatusCode.UNAVAILABLE, "full queue")] * 99))
    with pytest.raises(CallError, match="unavailable: full queue"):
        call(peer, retries=2)
    assert len(peer.requests) == 3


def test_all_attempts_end_within_twice_the_deadline() -> None:
    peer = Peer(after([RefusalError(grpc.StatusCode.UNAVAILABLE)] * 99_999))
    started_s = time.monotonic()
    with pytest.raises(CallError):
        call(peer, timeout_s=0.4, retries=99_999)
    assert time.monotonic() - started_s < 2.5  # 0.8 s, and the server's start and stop on a busy machine


def test_retries_of_all_files_share_a_budget() -> None:
    async def many() -> list[BaseException | None]:
        async with unreachable(CallPolicy(retries=3, budget=5, **QUICK)) as triton:
            results = await asyncio.gather(*(request(triton) for _ in range(20)), return_exceptions=True)
            assert not triton.budget.take()
            return results

    assert all(isinstance(error, CallError) and error.retryable for error in asyncio.run(many()))


def test_successes_fill_the_budget_up_again() -> None:
    budget = RetryBudget(1)
    assert budget.take()
    assert not budget.take()
    for _ in range(11):
        budget.refill()
    assert budget.take()
    budget.close()
    budget.refill()
    assert not budget.take()


def test_an_unreachable_server_is_one_error_that_says_what_to_do() -> None:
    async def check() -> None:
        async with unreachable(CallPolicy()) as triton:
            await triton.check_ready(ENSEMBLE)

    with pytest.raises(ServerError, match=rf"no Triton answers at {NOWHERE}.*python -m server start"):
        asyncio.run(check())


@pytest.mark.parametrize(
    ("message", "code", "reason"),
    [
        ("truncated: the JPEG ends: early", "truncated", "the JPEG ends: early"),
        ("in ensemble 'deepfake_detector', not_an_image: no\nimage", "not_an_image", "no\nimage"),
        ("in ensemble 'deepfake_detector', inference request batch-size must be <= 8", "invalid_argument", None),
        ("[request id: <id_unknown>] unexpected shape", "invalid_argument", None),
    ],
)
def test_reads_the_code_back_from_an_invalid_argument(message: str, code: str, reason: str | None) -> None:
    error = explain(InferenceServerException(message, "StatusCode.INVALID_ARGUMENT"), 1.0).error
    assert error.code == code
    assert error.message == (reason or message.removeprefix("in ensemble 'deepfake_detector', "))


def test_other_errors_keep_their_status_even_when_they_look_coded() -> None:
    error = explain(InferenceServerException("engine: NaN", "StatusCode.INTERNAL"), 1.0).error
    assert (error.code, error.message) == ("internal", "engine: NaN")


def test_a_message_that_is_too_large_is_not_repeated() -> None:
    error = InferenceServerException("Sent message larger than max (5 vs. 4)", "StatusCode.RESOURCE_EXHAUSTED")
    assert not explain(error, 1.0).retryable


def test_an_answer_goes_through_untouched() -> None:
    peer = Peer(lambda _: ensemble_answer())
    call(peer)
    assert len(peer.requests) == 1
