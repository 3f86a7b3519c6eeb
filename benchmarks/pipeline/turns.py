"""A server under load and work in this process, one after the other, round by round."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from benchmarks.serving.measured import Load, Measurement
from benchmarks.serving.measuring import Target, measure
from benchmarks.serving.windows import Windowing
from lnclip.contract import ENCODER
from lnclip.detection import Pixels
from lnclip.engines import Runner
from lnclip.errors import ServerError

First = TypeVar("First")
Second = TypeVar("Second")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How the shares are measured."""

    rounds: int = 5
    windowing: Windowing = field(default_factory=lambda: Windowing(max_trials=3))
    concurrencies: Sequence[int] = (8, 16)
    """Requests in flight: each is tried once, the rounds use the one that gave the highest throughput."""

    batch_sizes: Sequence[int] = (1, 8)
    """Of the encoder alone."""

    turn_s: float = 20.0
    """How long the encoder alone works in its turn, at least, at each batch size."""

    pairs: int = 200
    """Of one request and one pass of its image through the stages, in a round of ``added``."""


def in_turn(rounds: int, first: Callable[[], First], second: Callable[[], Second]) -> list[tuple[First, Second]]:
    """What both give in every round; who goes first changes with each."""
    pairs = []
    for number in range(rounds):
        if number % 2:
            later = second()
            pairs.append((first(), later))
        else:
            pairs.append((first(), second()))
    return pairs


def under_load(target: Target, load: Load, payloads: Sequence[bytes], settings: Settings) -> Measurement:
    """One measurement of the server.

    Raises:
        ServerError: a request failed, so the throughput is not that of the work.
    """
    measurement = measure(target, load, payloads, settings.windowing)
    if measurement.errors or not len(measurement.latencies_us):
        raise ServerError(
            f"{target.grpc_url} answered {len(measurement.latencies_us)} requests, errors {dict(measurement.errors)}"
        )
    return measurement


def saturate(target: Target, payloads: Sequence[bytes], settings: Settings) -> dict[Load, Measurement]:
    """The server at each of the concurrencies, the one with the highest throughput first.

    Raises:
        ServerError: as ``under_load``.
    """
    tried = {}
    for value in settings.concurrencies:
        load = Load("concurrency", value)
        tried[load] = under_load(target, load, payloads, settings)
    return dict(sorted(tried.items(), key=lambda item: -item[1].throughput))


def alone_per_s(runner: Runner, crops: Pixels, batch: int, turn_s: float) -> float:
    """Crops per second of the engine in this process, in batches of ``batch``, for ``turn_s`` at least.

    The crops are cycled; the first batch, for which the engine may compile, is not counted.
    """
    turns = itertools.cycle(range(len(crops)))
    filled = [crops[list(itertools.islice(turns, batch))] for _ in range(2)]
    runner.run(filled[0])
    encoded, started_s = 0, time.perf_counter()
    while (passed_s := time.perf_counter() - started_s) < turn_s or not encoded:
        runner.run(filled[encoded // batch % 2])
        encoded += batch
    return encoded / passed_s


def steady_per_s(measurement: Measurement, cycle: int) -> float:
    """Answers per second, counted from one answer to another a whole number of cycles later.

    Answers come in bursts, a batch at a time, and a window's edges lie anywhere between two of them: over its length a
    burst more or less would count as throughput. Where there is no whole cycle, the window must do.

    Args:
        measurement: with its answers.
        cycle: answers after which the same requests are outstanding again.
    """
    count = (len(measurement.answered_s) - 1) // cycle * cycle
    if count < 1:
        return measurement.throughput
    return float(count / (measurement.answered_s[count] - measurement.answered_s[0]))


def encoder_batch(measurement: Measurement) -> float:
    """Mean number of crops that the encoder had in one batch."""
    [encoder] = [model for model in (*measurement.steps, measurement.model) if model.name == ENCODER]
    return encoder.inferences / max(encoder.executions, 1)


def described(measurement: Measurement) -> dict[str, object]:
    """What a record keeps of one measurement."""
    latencies_ms = np.percentile(measurement.latencies_us, (50, 99)) / 1000
    return {
        "throughput": measurement.throughput,
        "is_stable": measurement.is_stable,
        "p50_ms": float(latencies_ms[0]),
        "p99_ms": float(latencies_ms[1]),
        "answered": len(measurement.latencies_us),
        "faces": measurement.faces,
        "encoder_batch": encoder_batch(measurement),
        "client_cores": measurement.client_cores,
        "server_cores": measurement.server_cores,
        "server_cpu_ms": measurement.server_cores / measurement.throughput * 1000,  # of one request
    }


def described_loads(tried: Mapping[Load, Measurement]) -> list[dict[str, object]]:
    """The same of several loads."""
    return [{**load._asdict(), **described(measurement)} for load, measurement in tried.items()]
