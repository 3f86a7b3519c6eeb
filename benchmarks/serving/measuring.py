"""One load put on a server: what its users would see, and where the time went inside.

What is measured is a server that already runs; files of a corpus or ready crops are sent to it from processes of
their own. Requests that fail are counted and change nothing else.
"""

from __future__ import annotations

import logging
import math
import os
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from tritonclient.grpc import service_pb2

from benchmarks.serving.generator import Generator, cpu_s, sending
from benchmarks.serving.load import MOST_OUTSTANDING, Task, shares
from benchmarks.serving.measured import Exchange, Load, Measurement, Window
from benchmarks.serving.model_statistics import Statistics, ensemble_steps, read_statistics, split
from benchmarks.serving.windows import (
    AGREEING,
    MOST_INTERVALS,
    Windowing,
    is_stable,
    latencies_us,
    least_requests,
    sum_up,
)
from client.answers import ENSEMBLE_OUTPUTS
from client.backends.encoding import OUTPUTS as ENCODER_OUTPUTS
from client.wire import question, with_image
from lnclip.contract import CROPS, ENCODER, ENSEMBLE, FACE_P_FAKE, IMAGE

log = logging.getLogger(__name__)

Mode = Literal["images", "crops"]
DELAYED_S = 0.001
SEED = 0
"""Of an open loop's intended starts."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """A server, and what it is asked."""

    grpc_url: str
    http_url: str
    """Both ``host:port``."""

    pid: int | None
    """Of tritonserver; None: its CPU time is not known."""

    mode: Mode
    """Whole images for the ensemble, or crops for the encoder, one in a request."""

    @property
    def model(self) -> str:
        """That is asked."""
        return ENSEMBLE if self.mode == "images" else ENCODER


class _Mark(NamedTuple):
    """The edge of a window: counters that grow."""

    time_s: float
    arrived: int
    statistics: Statistics
    client_cpu_s: float
    server_cpu_s: float


class _Trial(NamedTuple):
    """A window with all that is known of it."""

    window: Window
    arrived: int
    exchanges: list[Exchange]
    begin: _Mark
    end: _Mark


def measure(target: Target, load: Load, payloads: Sequence[bytes], windowing: Windowing) -> Measurement:
    """Load the server until three windows agree, and sum those up.

    Args:
        target: a server that is ready.
        load: to put on it.
        payloads: whole image files, or crops as raw UINT8 pixels (S*S*3); sent in turn, again and again.
        windowing: how long and how well.

    Raises:
        ValueError: there is nothing to send, or the load is none.
        ServerError: the server does not answer over HTTP, or lacks the model.
        LnclipError: the load generator cannot run.
    """
    if not payloads or load.value < (1 if load.kind == "concurrency" else 1e-6):
        raise ValueError(f"no payloads, or no load: {len(payloads)} payloads, {load}")
    steps = ensemble_steps(target.http_url, target.model)
    task = Task(
        grpc_url=target.grpc_url,
        load=load,
        messages=messages(target.mode, payloads),
        faces_output=FACE_P_FAKE.name if target.mode == "images" else "",
        most_outstanding=MOST_OUTSTANDING,
        seed=(SEED,),
    )
    with sending(shares(task, num_processes(load))) as generator:
        generator.begin()
        _warm_up(generator, windowing)
        trials = _try(generator, target, load, windowing)
    return _merge(trials, load, windowing, [target.model, *steps])


def num_processes(load: Load) -> int:
    """Half of the cores, for the server needs some too, but none without a request to send."""
    most = max(1, len(os.sched_getaffinity(0)) // 2)
    return min(int(load.value), most) if load.kind == "concurrency" else most


def messages(mode: Mode, payloads: Sequence[bytes]) -> list[bytes]:
    """Whole requests, ready to be sent; their outputs are those that our client asks for."""
    if mode == "images":
        asked = question(ENSEMBLE, IMAGE, ENSEMBLE_OUTPUTS, {})
        return [with_image(asked, payload) for payload in payloads]
    return [_crop_message(payload) for payload in payloads]


def _crop_message(crop: bytes) -> bytes:
    side = math.isqrt(len(crop) // 3)
    if len(crop) != side * side * 3:
        raise ValueError(f"a crop is a square of UINT8 with three channels, not {len(crop)} bytes")
    request = service_pb2.ModelInferRequest(model_name=ENCODER, raw_input_contents=[crop])
    request.inputs.add(name=CROPS.name, datatype=CROPS.dtype, shape=(1, side, side, 3))
    for name in ENCODER_OUTPUTS:
        request.outputs.add(name=name)
    message: bytes = request.SerializeToString()
    return message


def _warm_up(generator: Generator, windowing: Windowing) -> None:
    begun_s, now_s = time.monotonic(), 0.0
    while generator.num_ended < windowing.warmup_requests and now_s < begun_s + MOST_INTERVALS * windowing.interval_s:
        now_s = time.monotonic()
        generator.collect(now_s)


def _try(generator: Generator, target: Target, load: Load, windowing: Windowing) -> list[_Trial]:
    """Windows until three agree, or until there are too many."""
    trials: list[_Trial] = []
    mark = _mark(generator, target)
    generator.take(mark.time_s)
    while len(trials) < max(AGREEING, windowing.max_trials):
        _wait(generator, mark.time_s, least_requests(load), windowing)
        begin, mark = mark, _mark(generator, target)
        exchanges, duration_s = generator.take(mark.time_s), mark.time_s - begin.time_s
        window = sum_up(exchanges, duration_s, windowing.percentile)
        trials.append(_Trial(window, mark.arrived - begin.arrived, exchanges, begin, mark))
        log.info("%s %g: %d in %.1f s", load.kind, load.value, window.completed, duration_s)
        if _agree(trials, load, windowing):
            break
    return trials


def _wait(generator: Generator, begun_s: float, least: int, windowing: Windowing) -> None:
    """One interval, and more of them while the window holds too few requests."""
    for number in range(1, MOST_INTERVALS + 1):
        generator.collect(begun_s + number * windowing.interval_s)
        if generator.num_ended >= least:
            return


def _mark(generator: Generator, target: Target) -> _Mark:
    """Now, with everything that ended before."""
    statistics, time_s = read_statistics(target.http_url), time.monotonic()
    server_cpu_s = cpu_s(target.pid) if target.pid is not None else math.nan
    client_cpu_s = time.process_time() + sum(map(cpu_s, generator.pids))
    generator.collect(time_s)
    return _Mark(time_s, generator.arrived, statistics, client_cpu_s, server_cpu_s)


def _agree(trials: Sequence[_Trial], load: Load, windowing: Windowing) -> bool:
    arrived = [trial.arrived for trial in trials] if load.kind == "request_rate" else None
    return is_stable([trial.window for trial in trials], windowing.stability, arrived)


def _merge(trials: Sequence[_Trial], load: Load, windowing: Windowing, models: Sequence[str]) -> Measurement:
    """The last windows as one: they follow each other without a gap."""
    merged = trials[-AGREEING:]
    begin, end = merged[0].begin, merged[-1].end
    duration_s = end.time_s - begin.time_s
    exchanges = [exchange for trial in merged for exchange in trial.exchanges]
    answered = [exchange for exchange in exchanges if not exchange.error]
    delayed = sum(exchange.sent_s - exchange.intended_s > DELAYED_S for exchange in exchanges)
    asked, *steps = (split(begin.statistics, end.statistics, model) for model in models)
    return Measurement(
        load=load,
        is_stable=_agree(trials, load, windowing),
        windows=[trial.window for trial in trials],
        duration_s=duration_s,
        latencies_us=np.array(latencies_us(exchanges)),
        answered_s=np.array([exchange.answered_s for exchange in answered]),
        marshal_us=float(np.mean([each.marshal_s for each in answered]) * 1e6) if answered else 0.0,
        faces=sum(exchange.num_faces for exchange in answered),
        errors=Counter(exchange.error for exchange in exchanges if exchange.error),
        delayed_share=delayed / len(exchanges) if exchanges else 0.0,
        client_cores=(end.client_cpu_s - begin.client_cpu_s) / duration_s,
        server_cores=(end.server_cpu_s - begin.server_cpu_s) / duration_s,
        model=asked,
        steps=steps,
    )
