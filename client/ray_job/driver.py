"""The driver: plans a run, has Ray Data carry it out, and sums up what the workers say."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from types import FrameType

from client.job import ScoreRun, Summary
from client.pipeline import FoundCount
from client.progress import Tally, show_progress
from client.ray_job.partitions import make_partitions
from client.ray_job.result_folder import check_out, open_run
from client.ray_job.worker import PartScorer, Receipt, WorkerJob
from client.sources.finding import check_sources, find
from client.ways import addresses
from lnclip.errors import ConfigError, ServerError
from lnclip.scoring import RequestParameters

LOCAL = "local"
OBJECT_STORE_BYTES = 100 << 20
"""Of a Ray that is started here: what passes through it are numbers of partitions and receipts."""

CONNECT_S = 10.0

QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_BACKEND_LOG_LEVEL": "fatal"}
"""Ray reads these when it is imported, and reports nothing to anybody."""

ON_LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
"""Where clusters are out of the question Ray listens on loopback alone; on Linux it has to be told."""


class _InterruptedError(BaseException):
    """A signal; no ``except Exception`` within Ray may swallow it."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def score_on_ray(job: ScoreRun, address: str, workers: int) -> Summary:
    """Score everything on a Ray cluster, into a folder of Parquet parts.

    Args:
        job: as for one machine; its paths and its result must be visible to every node.
        address: of a cluster, as ``ray.init`` takes it; ``local`` starts one on this machine, and stops it.
        workers: that score at the same time, each with a client of its own.

    Raises:
        ConfigError: the result cannot be written, or what is there cannot be resumed; or an input list is wrong; or
            the address is a Ray Client's.
        ServerError: there is no such cluster; or a worker cannot score (it says why).
    """
    if "://" in address:
        raise ConfigError(
            f"{address}: Ray Data does not run over a Ray Client; start this on a node of the cluster, with --ray auto"
        )
    check_sources(job.paths, path_column=job.path_column)
    RequestParameters.parse(job.options.parameters)
    urls = None if job.options.way == "local" else addresses(job.urls)
    tally, found, interrupted_by = Tally(), FoundCount(), None
    check_out(job.out, job.options.deciding(), resume=job.resume, overwrite=job.overwrite)
    # the cluster first: --overwrite takes away what is there
    with (
        _ray(address, workers),
        open_run(job.out, job.options.deciding(), resume=job.resume, overwrite=job.overwrite) as folder,
    ):
        try:
            with show_progress(job.paths) as show, _raised_signals():
                numbers = make_partitions(
                    find(job.paths, path_column=job.path_column),
                    folder,
                    workers=workers,
                    count=found,
                    tell=lambda: show(tally, found),
                )
                worker_job = WorkerJob(folder=folder, urls=urls, options=job.options, directory=Path.cwd())
                for receipt in _made(numbers, worker_job, workers):
                    _count(receipt, tally)
                    show(tally, found)
        except _InterruptedError as interruption:
            interrupted_by = interruption.number
        return Summary(tally=tally, found=found, outcomes=folder.outcomes(), interrupted_by=interrupted_by)


def _made(numbers: list[int], job: WorkerJob, workers: int) -> Iterator[Receipt]:
    """Have the parts made; what is said of each, in order of completion."""
    import ray.data

    if not numbers:
        return
    # from_items takes no CPU: a reading task could wait for ever for one that the workers have
    partitions = ray.data.from_items([{"number": number} for number in numbers], override_num_blocks=len(numbers))
    receipts = partitions.map_batches(
        PartScorer,
        fn_constructor_args=(job,),
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=min(workers, len(numbers)), max_tasks_in_flight_per_actor=1),
        num_cpus=1,
    )
    try:
        for row in receipts.iter_rows():
            receipt = Receipt.model_validate_json(row["receipt"])
            if receipt.failure is not None:
                raise ServerError(f"{receipt.failure}. Parts that are whole stay, --resume goes on")
            yield receipt
    except ray.exceptions.UserCodeException:
        raise  # a mistake of ours, not of Ray's
    except ray.exceptions.RayError as error:
        first = str(error).partition("\n")[0]
        raise ServerError(f"Ray gave up: {first} Parts that are whole stay, --resume goes on") from error


def _count(receipt: Receipt, tally: Tally) -> None:
    tally.ok += receipt.ok
    tally.no_face += receipt.no_face
    tally.faces += receipt.faces
    tally.errors += sum(receipt.codes.values())
    tally.codes.update(receipt.codes)


@contextmanager
def _ray(address: str, workers: int) -> Iterator[None]:
    """A connection to the cluster; of a local one the cluster itself. What Ray prints goes to stderr."""
    for name, value in (QUIET | (ON_LOOPBACK if address == LOCAL else {})).items():
        os.environ.setdefault(name, value)
    import ray.data

    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # whatever fails is said once, by us
    with redirect_stdout(sys.stderr):
        _connect(address, workers)
        try:
            context = ray.data.DataContext.get_current()
            context.enable_progress_bars = False
            context.print_on_execution_start = False
            context.execution_no_progress_timeout_s = -1  # a part of long videos may take hours
            yield
        finally:
            ray.shutdown()


def _connect(address: str, workers: int) -> None:
    import ray

    local = {"num_cpus": workers, "include_dashboard": False, "object_store_memory": OBJECT_STORE_BYTES}
    options = local if address == LOCAL else {}
    host, _, port = address.rpartition(":")
    try:
        if port.isdecimal():  # Ray itself would try for minutes
            socket.create_connection((host.strip("[]"), int(port)), CONNECT_S).close()
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **options)
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        first = str(error).partition("\n")[0]
        raise ServerError(f"no Ray cluster answers at {address}: {first}") from error


@contextmanager
def _raised_signals() -> Iterator[None]:
    """The first Ctrl-C or SIGTERM ends the run in good order; Ray's own handlers would just exit."""
    handled = (signal.SIGINT, signal.SIGTERM)

    def interrupt(number: int, _: FrameType | None) -> None:
        for each in handled:
            signal.signal(each, signal.SIG_DFL)
        raise _InterruptedError(number)

    before = {number: signal.signal(number, interrupt) for number in handled}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
