"""A process for every engine: thread pools, pinned cores and memory of one never touch another.

Only one works at a time. What a worker is asked is a function of this module.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import ParamSpec, TypeVar

import numpy as np

from benchmarks.encoder_speed.ceiling import Multiplier, time_products
from benchmarks.encoder_speed.loading import load
from benchmarks.encoder_speed.products import Product
from benchmarks.encoder_speed.ways import Device, Engine, Way
from export.parity import run_all
from lnclip.artifact import Precision
from lnclip.engines import Crops, EncoderAnswer, TorchRunner
from lnclip.errors import LnclipError

SETTLE_S = 0.05
"""Idle threads of the engine before spin for some milliseconds: nobody starts while they may."""

TURN_S = 0.5
"""A turn goes on so long, and is one call at least."""

LIMITING = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OMP_WAIT_POLICY")
"""Set in many a shell and container; they would hold back torch alone, and with it the baseline."""

P = ParamSpec("P")
R = TypeVar("R")


class Workers:
    """One process for each engine; made by ``started``."""

    def __init__(self, pools: dict[Engine, ProcessPoolExecutor]) -> None:
        """``pools`` have one process each."""
        self._pools = pools

    def ask(self, engine: Engine, task: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """What the task answers in the engine's process; its errors are raised here.

        Raises:
            LnclipError: the process died.
        """
        try:
            return self._pools[engine].submit(task, *args, **kwargs).result()
        except BrokenProcessPool as error:
            raise LnclipError(f"the process of {engine} died; its message stands above") from error


@contextmanager
def started(engines: Iterable[Engine]) -> Iterator[Workers]:
    """Processes for some engines, ended on the way out."""
    with ExitStack() as stack:
        pools = {
            engine: stack.enter_context(
                ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn"), initializer=_let_go)
            )
            for engine in dict.fromkeys(engines)
        }
        yield Workers(pools)


def _let_go() -> None:
    """Every engine takes the threads that it takes by default."""
    for name in LIMITING:
        os.environ.pop(name, None)


def reference(run: Path, crops_NHWC: Crops) -> EncoderAnswer:
    """What torch says of the crops in FP32 on the processor."""
    with TorchRunner(run) as runner:
        return run_all(runner, crops_NHWC)


def num_threads() -> int:
    """How many torch takes by default."""
    import torch

    return torch.get_num_threads()


def answer(way: Way, run: Path, exports: Path, crops_NHWC: Crops, batch: int) -> EncoderAnswer:
    """The answers of a way to crops, in batches of which every one is full.

    Raises:
        SetupError: the way is not here.
        ValueError: the last batch would not be full.
    """
    if len(crops_NHWC) % batch:
        raise ValueError(f"{len(crops_NHWC)} crops are no multiple of {batch}")
    encode = load(way, run, exports)
    parts = [encode(crops_NHWC[start : start + batch]) for start in range(0, len(crops_NHWC), batch)]
    return EncoderAnswer(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def take_turn(way: Way, run: Path, exports: Path, crops_NHWC: Crops, *, warms_up: bool) -> list[float]:
    """Seconds of each call on one batch, for ``TURN_S`` and once at least.

    Args:
        way: loaded before, for its answers.
        run: as then.
        exports: as then.
        crops_NHWC: the batch.
        warms_up: whether a call goes before, its time not kept: engines prepare anew for another batch size.
    """
    encode = load(way, run, exports)
    if warms_up:
        encode(crops_NHWC)
    time.sleep(SETTLE_S)
    taken, began = list[float](), time.perf_counter()
    while not taken or time.perf_counter() - began < TURN_S:
        start = time.perf_counter()
        encode(crops_NHWC)
        taken.append(time.perf_counter() - start)
    return taken


def take_ceiling_turn(
    multiplier: Multiplier, precision: Precision, device: Device, shapes: list[Product], samples: int
) -> dict[str, list[float]]:
    """``ceiling.time_products``, once the others' threads are asleep."""
    time.sleep(SETTLE_S)
    return time_products(multiplier, precision, device, shapes, samples)
