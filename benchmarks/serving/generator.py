"""The load generator's processes, as the one that measures sees them."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path

from tritonclient.utils import InferenceServerException

from benchmarks.serving.load import DRAIN_S, REPORT_EVERY_S, TIMEOUT_S, Report, Task, generate
from benchmarks.serving.measured import Exchange
from client.calling import explain
from lnclip.errors import LnclipError

START_S = 120.0
"""A process imports gRPC and prepares its requests."""

SILENT_S = 60.0
"""A process reports twenty times a second; one that does not for so long hangs."""


class Generator:
    """Processes that send, and what they have reported."""

    def __init__(self, pipes: Sequence[Connection], pids: Sequence[int]) -> None:
        """All are ready and wait for ``begin``."""
        self._pipes = list(pipes)
        self._until_s = dict.fromkeys(pipes, 0.0)
        self._arrived = dict.fromkeys(pipes, 0)
        self._exchanges: list[Exchange] = []
        self.pids = list(pids)

    @property
    def arrived(self) -> int:
        """Requests whose intended start has come, since the beginning."""
        return sum(self._arrived.values())

    @property
    def num_ended(self) -> int:
        """Exchanges that nobody has taken yet."""
        return len(self._exchanges)

    def begin(self) -> None:
        """All of them send from now on."""
        for pipe in self._pipes:
            pipe.send(None)

    def collect(self, until_s: float) -> None:
        """Wait until everything that ended before a time is here.

        Raises:
            LnclipError: a process died or hangs.
        """
        while min(self._until_s.values()) < until_s:
            ready = wait(self._pipes, timeout=max(0.0, until_s - time.monotonic()) + SILENT_S)
            if not ready:
                raise LnclipError(f"a process of the load generator said nothing for {SILENT_S:g} s")
            for pipe in ready:
                if isinstance(pipe, Connection):
                    report: Report = _receive(pipe)
                    self._until_s[pipe] = report.until_s
                    self._arrived[pipe] = report.arrived
                    self._exchanges += map(coded, report.exchanges)

    def take(self, until_s: float) -> list[Exchange]:
        """What ended before a time, in that order, and is not here any more."""
        ended = sorted(self._exchanges, key=lambda exchange: exchange.answered_s)
        self._exchanges = [each for each in ended if each.answered_s >= until_s]
        return ended[: len(ended) - len(self._exchanges)]


def coded(exchange: Exchange) -> Exchange:
    """With the code that a row would have, in place of gRPC's status and what was said."""
    status, line, said = exchange.error.partition("\n")
    if not line:
        return exchange
    return exchange._replace(error=explain(InferenceServerException(said, status), TIMEOUT_S).error.code)


@contextmanager
def sending(tasks: Sequence[Task]) -> Iterator[Generator]:
    """Processes that send at the load of their tasks, from ``begin`` until the way out.

    Raises:
        LnclipError: one of them cannot start.
    """
    context = multiprocessing.get_context("spawn")
    pipes: list[Connection] = []
    processes: list[SpawnProcess] = []
    try:
        for task in tasks:
            ours, theirs = context.Pipe()
            process = context.Process(target=generate, args=(task, theirs), daemon=True)
            process.start()
            theirs.close()
            pipes.append(ours)
            processes.append(process)
        for pipe in pipes:
            if not pipe.poll(START_S):
                raise LnclipError(f"a process of the load generator did not start within {START_S:g} s")
            _receive(pipe)
        yield Generator(pipes, [process.pid or 0 for process in processes])
    finally:
        _stop(pipes, processes)


def cpu_s(pid: int) -> float:
    """CPU time of a process and all below it, those included that ended and were waited for.

    Source: proc(5), /proc/PID/stat: fields 4 (parent) and 14 to 17 (clock ticks).
    """
    parents: dict[int, int] = {}
    ticks: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
            except OSError:  # gone meanwhile
                continue
            parents[int(entry.name)] = int(fields[1])
            ticks[int(entry.name)] = sum(map(int, fields[11:15]))
    return sum(ticks[each] for each in parents if _is_below(each, pid, parents)) / os.sysconf("SC_CLK_TCK")


def _is_below(pid: int, root: int, parents: dict[int, int]) -> bool:
    while pid != root and pid in parents:
        pid = parents[pid]
    return pid == root


def _receive(pipe: Connection) -> Report:
    try:
        report: Report = pipe.recv()
    except (EOFError, OSError) as error:
        raise LnclipError("a process of the load generator died; its error stands above") from error
    return report


def _stop(pipes: Sequence[Connection], processes: Sequence[SpawnProcess]) -> None:
    """Let what is outstanding end, within limits."""
    for pipe in pipes:
        try:
            pipe.send(None)
        except OSError:  # it died
            continue
    deadline_s = time.monotonic() + DRAIN_S + 20 * REPORT_EVERY_S
    for process in processes:
        process.join(timeout=max(0.0, deadline_s - time.monotonic()))
    for pipe, process in zip(pipes, processes, strict=False):
        process.terminate()
        process.join()
        pipe.close()
