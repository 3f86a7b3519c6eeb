"""Several servers, and servers that go and come back; every one of them is a real gRPC peer."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable

import grpc

from client.breaker import FAILURES_TO_OPEN
from client.calling import FULL_QUEUE, CallError, CallPolicy
from client.limits import Limit
from client.servers import Servers
from lnclip.contract import ENSEMBLE
from tests.client.peer import Peer, RefusalError, after, ensemble_answer, serve, serve_wedged, slow
from tests.client.test_calling import QUICK, request

NOWHERE = "127.0.0.1:9"


def good() -> Peer:
    return Peer(lambda _: ensemble_answer())


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def play(urls: list[str], scene: Callable[[Servers], Awaitable[None]], places: int = 8, **policy: float) -> None:
    async def run() -> None:
        async with Servers(urls, CallPolicy(**QUICK | policy), Limit(places)) as servers:
            await scene(servers)

    asyncio.run(run())


async def many(servers: Servers, number: int) -> list[str]:
    """A word for each request: ok, or the code of its error."""

    async def one() -> str:
        try:
            await request(servers)
        except CallError as error:
            return error.error.code
        return "ok"

    return await asyncio.gather(*(one() for _ in range(number)))


def test_idle_servers_take_turns() -> None:
    peers = [good(), good(), good()]

    async def scene(servers: Servers) -> None:
        for _ in range(9):
            await request(servers)

    with serve(peers[0]) as a, serve(peers[1]) as b, serve(peers[2]) as c:
        play([a, b, c], scene)
    assert [len(peer.requests) for peer in peers] == [3, 3, 3]


def test_the_least_loaded_server_comes_first() -> None:
    quick, lazy = Peer(slow(0.01)), Peer(slow(0.1))

    async def scene(servers: Servers) -> None:
        assert await many(servers, 110) == ["ok"] * 110

    with serve(quick) as a, serve(lazy) as b:
        play([a, b], scene)
    assert len(quick.requests) > 2 * len(lazy.requests)


def test_a_failed_request_goes_to_another_server_without_a_pause() -> None:
    full, other = Peer(after([RefusalError(grpc.StatusCode.UNAVAILABLE, FULL_QUEUE)] * 99)), good()

    async def scene(servers: Servers) -> None:
        started_s = time.monotonic()
        assert await many(servers, 20) == ["ok"] * 20
        assert time.monotonic() - started_s < 4

    with serve(full) as a, serve(other) as b:
        play([a, b], scene, first_pause_s=5.0, longest_pause_s=5.0)
    assert len(other.requests) == 20
    assert len(full.requests) > FAILURES_TO_OPEN  # a full queue is no reason to leave it alone


def test_a_failed_request_goes_to_another_server_even_when_that_has_more_to_do() -> None:
    full, other = Peer(after([RefusalError(grpc.StatusCode.UNAVAILABLE, FULL_QUEUE)] * 99)), Peer(slow(0.2))

    async def scene(servers: Servers) -> None:
        assert await many(servers, 8) == ["ok"] * 8

    with serve(full) as a, serve(other) as b:
        play([a, b], scene, retries=1)


def test_a_server_that_is_gone_is_left_alone() -> None:
    gone, other = Peer(after([RefusalError(grpc.StatusCode.UNAVAILABLE)] * 999)), good()

    async def scene(servers: Servers) -> None:
        assert await many(servers, 200) == ["ok"] * 200

    with serve(gone) as a, serve(other) as b:
        play([a, b], scene, places=4)
    assert FAILURES_TO_OPEN <= len(gone.requests) <= FAILURES_TO_OPEN + 3 + 2  # in flight; trials


def test_requests_wait_for_a_server_that_comes_back_and_hold_no_place_meanwhile() -> None:
    port, peer = free_port(), good()

    async def scene(servers: Servers) -> None:
        waiting = asyncio.create_task(many(servers, 30))
        await asyncio.sleep(0.9)
        assert servers.limit.in_flight == 0
        with serve(peer, port):
            assert await waiting == ["ok"] * 30

    play([f"127.0.0.1:{port}"], scene, places=30, patience_s=30.0, retries=1, budget=5)


def test_waiting_for_a_server_costs_a_request_no_retries() -> None:
    port = free_port()

    async def scene(servers: Servers) -> None:
        waiting = asyncio.create_task(many(servers, 1))
        await asyncio.sleep(1.2)  # the breaker opens, and the first trial fails after 0.5 to 0.63 s
        with serve(good(), port):
            assert await waiting == ["ok"]

    play([f"127.0.0.1:{port}"], scene, patience_s=30.0, retries=FAILURES_TO_OPEN)


def test_out_of_patience_everything_fails_at_once_until_the_server_is_back() -> None:
    port, peer = free_port(), good()

    async def scene(servers: Servers) -> None:
        assert await many(servers, 30) == ["unavailable"] * 30
        started_s = time.monotonic()
        for _ in range(500):
            assert await many(servers, 1) == ["unavailable"]
        assert time.monotonic() - started_s < 1
        with serve(peer, port):
            while await many(servers, 1) != ["ok"]:
                assert time.monotonic() - started_s < 20
                await asyncio.sleep(0.01)
            assert await many(servers, 30) == ["ok"] * 30
        gone_s = time.monotonic()
        assert await many(servers, 30) == ["unavailable"] * 30
        assert time.monotonic() - gone_s > 0.4  # patience begins anew

    play([f"127.0.0.1:{port}"], scene, patience_s=0.5)


def test_whoever_wants_to_end_waits_no_longer() -> None:
    async def scene(servers: Servers) -> None:
        waiting = asyncio.create_task(many(servers, 30))
        await asyncio.sleep(0.3)
        stopped_s = time.monotonic()
        servers.stop_retrying()
        assert await waiting == ["unavailable"] * 30
        assert time.monotonic() - stopped_s < 0.5
        assert await many(servers, 1) == ["unavailable"]

    play([NOWHERE], scene, patience_s=60.0)


def test_pauses_end_too() -> None:
    full = Peer(after([RefusalError(grpc.StatusCode.UNAVAILABLE, FULL_QUEUE)] * 99))

    async def scene(servers: Servers) -> None:
        waiting = asyncio.create_task(many(servers, 3))
        await asyncio.sleep(0.3)
        servers.stop_retrying()
        assert await asyncio.wait_for(waiting, 1) == ["unavailable"] * 3

    with serve(full) as url:
        play([url], scene, first_pause_s=30.0, longest_pause_s=30.0)


def test_a_cancelled_trial_does_not_keep_the_others_waiting() -> None:
    refuse = after([RefusalError(grpc.StatusCode.UNAVAILABLE)] * FAILURES_TO_OPEN)

    def behave(request_):
        if len(peer.requests) == FAILURES_TO_OPEN + 1:
            time.sleep(3)
        return refuse(request_)

    peer = Peer(behave)

    async def scene(servers: Servers) -> None:
        trial = asyncio.create_task(request(servers))
        while len(peer.requests) <= FAILURES_TO_OPEN:
            await asyncio.sleep(0.01)
        other = asyncio.create_task(request(servers))
        await asyncio.sleep(0.2)
        assert not other.done()
        trial.cancel()
        await asyncio.wait_for(other, 1)

    with serve(peer) as url:
        play([url], scene, patience_s=30.0)


def test_with_a_wedged_server_beside_a_good_one_everything_is_answered() -> None:
    async def scene(servers: Servers) -> None:
        await servers.check_ready(ENSEMBLE)
        assert await many(servers, 400) == ["ok"] * 400

    peer = Peer(slow(0.005))
    with serve(peer) as url, serve_wedged() as (wedged, wedged_url):
        play([wedged_url, url], scene, timeout_s=0.5)
    assert len(wedged.requests) <= 8 + 4  # those that were in flight until the first deadline; trials


def test_a_wedged_server_alone_is_an_error_each_in_bounded_time() -> None:
    async def scene(servers: Servers) -> None:
        await servers.check_ready(ENSEMBLE)
        started_s = time.monotonic()
        assert await many(servers, 1000) == ["deadline_exceeded"] * 1000
        assert time.monotonic() - started_s < 6

    with serve_wedged() as (wedged, url):
        play([url], scene, timeout_s=0.3, patience_s=1.0)
    assert len(wedged.requests) < 30
