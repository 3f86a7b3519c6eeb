"""What a failure means, and how one server that fails is tried again; against a real gRPC peer."""

from __future__ import annotations

import asyncio
import time

import grpc
import numpy as np
import pytest
from tritonclient.grpc import InferInput, InferResult
from tritonclient.utils import InferenceServerException

from client.calling import FULL_QUEUE, CallError, CallPolicy, RetryBudget, explain
from client.limits import Limit
from client.servers import Servers
from lnclip.contract import ENSEMBLE
from tests.client.peer import Peer, RefusalError, after, ensemble_answer, serve, slow

QUICK = {"first_pause_s": 0.01, "longest_pause_s": 0.05, "patience_s": 1.0}


def call(peer: Peer, **policy: float) -> None:
    async def one() -> None:
        with serve(peer) as url:
            async with Servers([url], CallPolicy(**QUICK | policy), Limit(16)) as servers:
                await request(servers)

    asyncio.run(one())


async def request(servers: Servers) -> InferResult:
    tensor = InferInput("image", [1], "BYTES").set_data_from_numpy(np.array([b"picture"], np.object_))
    return await servers.infer(ENSEMBLE, [tensor], outputs=["verdict"])


@pytest.mark.parametrize("code", ["UNAVAILABLE", "CANCELLED", "RESOURCE_EXHAUSTED", "NOT_FOUND"])
def test_tries_again_when_the_server_is_away(code: str) -> None:
    peer = Peer(after([RefusalError(grpc.StatusCode[code])] * 3))
    call(peer)
    assert len(peer.requests) == 4


@pytest.mark.parametrize("code", ["INVALID_ARGUMENT", "INTERNAL", "UNIMPLEMENTED", "UNKNOWN"])
def test_does_not_repeat_what_would_fail_again(code: str) -> None:
    peer = Peer(after([RefusalError(grpc.StatusCode[code], "no")] * 3))
    with pytest.raises(CallError, match="no") as caught:
        call(peer)
    assert len(peer.requests) == 1
    assert caught.value.error.code == code.lower()


def test_a_passed_deadline_is_tried_once_more_and_then_said() -> None:
    peer = Peer(slow(0.5))
    with pytest.raises(CallError, match=r"no answer within 0\.[12]\d* s") as caught:
        call(peer, timeout_s=0.2)
    assert caught.value.error.code == "deadline_exceeded"
    assert len(peer.requests) == 2


def test_gives_up_after_the_given_retries() -> None:
    peer = Peer(after([RefusalError(grpc.StatusCode.UNAVAILABLE, FULL_QUEUE)] * 99))
    with pytest.raises(CallError, match=f"unavailable: {FULL_QUEUE}"):
        call(peer, retries=2)
    assert len(peer.requests) == 3


def test_all_attempts_end_within_twice_the_deadline() -> None:
    peer = Peer(after([RefusalError(grpc.StatusCode.UNAVAILABLE, FULL_QUEUE)] * 99_999))
    started_s = time.monotonic()
    with pytest.raises(CallError):
        call(peer, timeout_s=0.4, retries=99_999)
    assert 0.75 < time.monotonic() - started_s < 2.5  # 0.8 s, and the server's start and stop on a busy machine


def test_the_last_attempt_has_only_what_is_left() -> None:
    refuse = after([RefusalError(grpc.StatusCode.UNAVAILABLE, FULL_QUEUE)] * 2)

    def behave(request_):
        time.sleep(0.3 if len(peer.requests) < 3 else 1.0)
        return refuse(request_)

    peer = Peer(behave)
    with pytest.raises(CallError, match=r"no answer within 0\.[01]\d* s"):
        call(peer, timeout_s=0.4)


def test_retries_of_all_files_share_a_budget() -> None:
    peer = Peer(after([RefusalError(grpc.StatusCode.UNAVAILABLE, FULL_QUEUE)] * 99))

    async def many() -> list[BaseException | None]:
        with serve(peer) as url:
            async with Servers([url], CallPolicy(**QUICK, retries=3, budget=5), Limit(16)) as servers:
                return await asyncio.gather(*(request(servers) for _ in range(20)), return_exceptions=True)

    assert all(isinstance(error, CallError) and error.retryable for error in asyncio.run(many()))
    assert len(peer.requests) == 20 + 5


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


@pytest.mark.parametrize(
    ("status", "message", "is_away"),
    [
        ("UNAVAILABLE", "failed to connect to all addresses", True),
        ("UNAVAILABLE", "[request id: 7] Request for 'peer' version 1 is not at ready state", True),
        ("UNAVAILABLE", "[request id: 7] Exceeds maximum queue size", False),
        ("DEADLINE_EXCEEDED", "Deadline Exceeded", True),
        ("CANCELLED", "CANCELLED", True),
        ("NOT_FOUND", "Request for unknown model: 'peer' is not found", True),
        ("RESOURCE_EXHAUSTED", "too many", False),
        ("INVALID_ARGUMENT", "truncated: ends early", False),
        ("INTERNAL", "NaN", False),
    ],
)
def test_tells_a_server_that_is_away_from_a_request_that_failed(status: str, message: str, is_away: bool) -> None:
    assert explain(InferenceServerException(message, f"StatusCode.{status}"), 1.0).is_away == is_away


def test_an_answer_goes_through_untouched() -> None:
    peer = Peer(lambda _: ensemble_answer())
    call(peer)
    assert len(peer.requests) == 1
