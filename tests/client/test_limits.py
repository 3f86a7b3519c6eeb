"""How many requests are in flight: on simulated queues, whose knee is known, and on a real peer."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Callable, Coroutine

import numpy as np
import pytest
from tritonclient.grpc import InferInput

from client.calling import CallPolicy
from client.limits import LARGEST, START, Limit
from client.servers import Servers
from lnclip.contract import ENSEMBLE
from tests.client.peer import Peer, ensemble_answer, serve

STATION_S = 0.05


class SimulatedLoop(asyncio.SelectorEventLoop):
    """Nothing takes time: where it would wait, its clock jumps."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0
        self._really_select = self._selector.select
        self._selector.select = self._jump

    def _jump(self, timeout: float | None) -> list:
        assert timeout is not None, "everybody waits for somebody else"
        self.now_s += timeout
        return self._really_select(0)

    def time(self) -> float:
        return self.now_s


class Queue:
    """A server: so many stations, one queue before them."""

    def __init__(self, stations: int, service_s: Callable[[], float]) -> None:
        self.free = stations
        self.waiting: list[asyncio.Future] = []
        self.service_s = service_s
        self.served = 0

    async def serve(self) -> None:
        if self.free <= 0:
            turn = asyncio.get_running_loop().create_future()
            self.waiting.append(turn)
            await turn
        self.free -= 1
        await asyncio.sleep(self.service_s())
        self.free += 1
        self.served += 1
        if self.waiting and self.free > 0:
            self.waiting.pop(0).set_result(None)


def even(rng: random.Random) -> Callable[[], float]:
    return lambda: rng.uniform(0.8, 1.2) * STATION_S


def exponential(rng: random.Random) -> Callable[[], float]:
    return lambda: rng.expovariate(1 / STATION_S)


def simulate(play: Callable[[SimulatedLoop], Coroutine[None, None, None]]) -> None:
    with asyncio.Runner(loop_factory=SimulatedLoop) as runner:
        runner.run(play(runner.get_loop()))


async def demand(limit: Limit, queue: Queue, seconds: float, clients: int = 2 * LARGEST) -> float:
    """Clients that always want more; answers per second."""
    loop = asyncio.get_running_loop()
    end_s, before = loop.time() + seconds, queue.served

    async def client() -> None:
        while loop.time() < end_s:
            async with limit:
                await queue.serve()

    await asyncio.gather(*(client() for _ in range(clients)))
    return (queue.served - before) / seconds


@pytest.mark.parametrize("service", [even, exponential])
@pytest.mark.parametrize(("stations", "least", "most"), [(4, 4, 9), (40, 32, 72)])
def test_finds_the_knee_of_a_queue(stations: int, least: int, most: int, service) -> None:
    async def play(loop: SimulatedLoop) -> None:
        queue, limit = Queue(stations, service(random.Random(0))), Limit.auto(clock=loop.time)
        await demand(limit, queue, 15)
        values, rates = [], []
        for _ in range(5):
            rates.append(await demand(limit, queue, 3))
            values.append(limit.value)
        assert least <= np.median(values) <= most
        assert np.mean(rates) > 0.88 * stations / STATION_S

    simulate(play)


def test_follows_a_server_that_grows_and_shrinks() -> None:
    async def play(loop: SimulatedLoop) -> None:
        queue, limit = Queue(4, even(random.Random(0))), Limit.auto(clock=loop.time)
        await demand(limit, queue, 10)
        assert limit.value < 10
        queue.free += 28
        await demand(limit, queue, 30)
        assert limit.value >= 32
        queue.free -= 28
        await demand(limit, queue, 120)
        assert limit.value < 20

    simulate(play)


def test_stays_within_its_bounds() -> None:
    async def play(loop: SimulatedLoop) -> None:
        limit, values = Limit.auto(clock=loop.time), []
        queue = Queue(10_000, lambda: STATION_S)
        for _ in range(15):
            await demand(limit, queue, 0.6)
            values.append(limit.value)
        assert max(values) == LARGEST
        limit = Limit.auto(clock=loop.time)
        await demand(limit, Queue(1, lambda: STATION_S), 30)
        assert limit.value == 1

    simulate(play)


def test_learns_nothing_from_single_requests() -> None:
    async def play(loop: SimulatedLoop) -> None:
        limit = Limit.auto(clock=loop.time)
        await demand(limit, Queue(40, lambda: STATION_S), 60, clients=2)
        assert limit.value == START

    simulate(play)


def test_an_outage_is_not_taken_for_a_slow_server() -> None:
    async def play(loop: SimulatedLoop) -> None:
        queue, limit = Queue(40, even(random.Random(0))), Limit.auto(clock=loop.time)
        await demand(limit, queue, 1.8)
        on_its_way = limit.value
        await asyncio.sleep(60)
        limit.restart_window()
        await demand(limit, queue, 3)
        assert START < on_its_way < limit.value

    simulate(play)


def test_a_fixed_limit_is_kept_in_the_order_of_arrival() -> None:
    async def play(loop: SimulatedLoop) -> None:
        limit, order, most = Limit(3), [], 0

        async def client(number: int) -> None:
            nonlocal most
            async with limit:
                order.append(number)
                most = max(most, limit.in_flight)
                await asyncio.sleep(1)

        await asyncio.gather(*map(client, range(20)))
        assert order == list(range(20))
        assert (most, limit.in_flight, loop.time()) == (3, 0, 7)

    simulate(play)


def test_who_gives_up_leaves_the_place_to_the_next() -> None:
    async def play(loop: SimulatedLoop) -> None:
        limit = Limit(1)

        async def hold(number: int) -> float:
            async with limit:
                await asyncio.sleep(1)
            if number == 0:
                tasks[1].cancel()  # which was given the place, and has not run since
            return loop.time()

        tasks = [asyncio.create_task(hold(number)) for number in range(5)]
        await asyncio.sleep(0.5)
        tasks[3].cancel()  # which still waits
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        assert [end if isinstance(end, float) else None for end in ends] == [1, None, 2, None, 3]
        assert limit.in_flight == 0

    simulate(play)


@pytest.mark.slow
def test_finds_the_knee_of_a_real_peer() -> None:
    workers = threading.Semaphore(3)

    def behave(request):
        with workers:
            time.sleep(0.02)
        return ensemble_answer()

    async def play() -> int:
        tensor = InferInput("image", [1], "BYTES").set_data_from_numpy(np.array([b"picture"], np.object_))
        limit = Limit.auto()
        with serve(Peer(behave)) as url:
            async with Servers([url], CallPolicy(), limit) as servers:
                end_s = time.monotonic() + 4

                async def client() -> None:
                    while time.monotonic() < end_s:
                        await servers.infer(ENSEMBLE, [tensor], outputs=["verdict"])

                await asyncio.gather(*(client() for _ in range(24)))
        return limit.value

    assert 3 <= asyncio.run(play()) <= 9
