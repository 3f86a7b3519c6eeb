"""What the ensemble adds to one 1280x720 request beside the models' own work, one in flight.

::

    added = latency of the request - sum of the stages' own wall times on the same image

Request and stages take turns one by one, and the figure is the median of the pairs' differences: a machine whose clock
or neighbours change by a quarter within seconds does so to both of a pair. What is sent is a prepared message, so the
latency is gRPC's and the server's, without a client's reading of files and writing of rows.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import grpc  # type: ignore[import-untyped]

from benchmarks.pipeline.costs import Cost, Stage, mean_costs
from benchmarks.pipeline.hops import Hop, hops, median_hops, own_ms
from benchmarks.pipeline.served_stages import ServedStages
from benchmarks.pipeline.share import Aim, Share
from benchmarks.pipeline.shares import check_answers
from benchmarks.pipeline.turns import Settings, in_turn
from benchmarks.serving.load import METHOD, OPTIONS, TIMEOUT_S
from benchmarks.serving.measuring import messages
from benchmarks.serving.model_statistics import ensemble_steps, read_statistics, split
from lnclip.contract import ENSEMBLE
from lnclip.errors import ServerError
from lnclip.running import RunningServer

ADDED = Aim("what the ensemble adds to one 1280x720 request", 6.0, "ms")
"""Source: DESIGN section 6."""

WARM_UP_PAIRS = 10


class Round(NamedTuple):
    """Pairs of one request and one pass of the same image through the stages."""

    latencies_ms: list[float]
    costs: list[Mapping[Stage, Cost]]
    way: list[Hop]

    @property
    def stages_ms(self) -> list[float]:
        """The stages' own wall time in each pass."""
        return list(map(own_ms, self.costs))

    @property
    def added_ms(self) -> float:
        """Median over the pairs."""
        pairs = zip(self.latencies_ms, self.stages_ms, strict=True)
        return statistics.median(latency_ms - stages_ms for latency_ms, stages_ms in pairs)

    def recorded(self) -> dict[str, object]:
        """Raw samples and hops, as JSON holds them."""
        way = [hop._asdict() for hop in self.way]
        return {"latencies_ms": self.latencies_ms, "stages_ms": self.stages_ms, "hops": way}


def measure_added(server: RunningServer, image: Path, settings: Settings) -> tuple[Share, list[Hop]]:
    """The time added, and what each part of the way adds. Serve a small encoder: a large one's noise hides it.

    Raises:
        LnclipError: a request failed, scores differ, or the server's repository or the image cannot be read.
    """
    content = image.read_bytes()
    with ServedStages(server.repository) as stages, asking(server.grpc_url, content) as ask:
        check_answers(server, [content], stages)

        def pass_once() -> Mapping[Stage, Cost]:
            return stages.run([content]).costs

        in_turn(WARM_UP_PAIRS, ask, pass_once)
        rounds = [_take(server, settings.pairs, ask, pass_once) for _ in range(settings.rounds)]
    details = {"rounds": [each.recorded() for each in rounds]}
    return Share(ADDED, [each.added_ms for each in rounds], 0, details), median_hops([each.way for each in rounds])


@contextmanager
def asking(grpc_url: str, content: bytes) -> Iterator[Callable[[], float]]:
    """A function that has an image scored and answers how long it took, milliseconds.

    It raises ServerError when the request fails.
    """
    [message] = messages("images", [content])
    with grpc.insecure_channel(grpc_url, options=OPTIONS) as channel:
        infer = channel.unary_unary(METHOD)

        def ask() -> float:
            begun_s = time.perf_counter()
            try:
                infer(message, timeout=TIMEOUT_S)
            except grpc.RpcError as failure:
                raise ServerError(f"{grpc_url}: {failure.code()} {failure.details()}") from failure
            return (time.perf_counter() - begun_s) * 1000

        yield ask


def _take(
    server: RunningServer, pairs: int, ask: Callable[[], float], pass_once: Callable[[], Mapping[Stage, Cost]]
) -> Round:
    """One round; nobody else asks the server meanwhile, so its statistics are of these requests."""
    before = read_statistics(server.http_url)
    taken = in_turn(pairs, ask, pass_once)
    after = read_statistics(server.http_url)
    latencies_ms = [latency_ms for latency_ms, _ in taken]
    costs = [found for _, found in taken]
    ensemble, *steps = (split(before, after, model) for model in (ENSEMBLE, *ensemble_steps(server.http_url, ENSEMBLE)))
    way = hops(statistics.fmean(latencies_ms), ensemble, steps, mean_costs(costs))
    return Round(latencies_ms, costs, way)
