"""Start and stop tritonserver on this machine: for the demo, tests, measuring and small services.

It is the wheel's tritonserver 2.51.0: Python models only, on the loopback interface. Production runs
the container.
"""

from __future__ import annotations

import logging
import secrets
import time
from contextlib import ExitStack
from dataclasses import KW_ONLY, dataclass
from pathlib import Path

from lnclip import running
from lnclip.artifact import Flavour
from lnclip.errors import ConfigError, ServerError
from lnclip.running import RUN_DIR, RunningServer, start_ticks
from server import health, processes, server_log, shared_memory
from server.launch import EXIT_TIMEOUT_S, Launch, LaunchRequest, build_launch, shm_prefix
from server.ports import HOST, BoundPorts, Ports, choose
from server.repository import REPOSITORY, check_servable
from server.run_folder import exclusive, forget, keep_previous_log, recorded, starting_folder

log = logging.getLogger(__name__)

ATTEMPTS = 5
"""A free port may be taken by another process before tritonserver binds it."""

ABORTED = "signal SIGABRT"
"""tritonserver 2.51 now and then aborts as it starts right after another was killed (a boost lock in shared memory)."""

STOP_S = EXIT_TIMEOUT_S + 15.0
"""A stopping server waits for work in flight, then unloads its models."""

POLL_S = 0.1


@dataclass(frozen=True)
class StartOptions:
    """What to serve, and where."""

    repository: Path = REPOSITORY
    _: KW_ONLY
    flavour: Flavour = "cpu"
    http_port: int | None = None
    """None: any free one; so with the others."""

    grpc_port: int | None = None
    metrics_port: int | None = None
    run_dir: Path = RUN_DIR
    ready_timeout_s: float = 120.0


def start(options: StartOptions) -> RunningServer:
    """Run a server apart from this process and wait until all its models are ready.

    Raises:
        SetupError: the repository or this machine lacks something; nothing was started.
        ConfigError: the flavour or a port cannot work; nothing was started.
        ServerError: a server runs from this folder already, or it could not start; in that case the
            message ends with the log's reasons and nothing is left running.
    """
    if options.flavour != "cpu":
        raise ConfigError(
            "the embedded server is for CPUs: --flavour cpu here. A GPU needs NVIDIA's Triton image "
            "on the repository that `python -m export publish --flavour gpu` made"
        )
    with exclusive(options.run_dir):
        _make_room(options.run_dir)
        models = check_servable(options.repository, options.flavour)
        shared_memory.check(options.repository, models, options.flavour)
        for attempt in range(1, ATTEMPTS + 1):
            server = _attempt(options, models, last=attempt == ATTEMPTS)
            if server is not None:
                return server
    raise AssertionError("unreachable: the last attempt gives a server or raises")


def stop(run_dir: Path = RUN_DIR) -> None:
    """Stop the server of a run folder: work in flight is finished first, and none of its processes stays.

    After a crash it cleans up what is left.

    Raises:
        ServerError: there is none.
    """
    nobody = ServerError(f"no server runs from {run_dir.resolve()}")
    if not run_dir.exists():
        raise nobody
    with exclusive(run_dir):
        server = recorded(run_dir)
        if server is None:
            raise nobody
        _mention_crash(server, run_dir)
        _end(server, run_dir)


def discard(run_dir: Path) -> None:
    """Kill the server of a run folder, if there is one, for a caller who alone asks it and has all answers.

    Nothing is waited for, where ``stop`` waits about 4 s for Triton to unload its Python models. None of its
    processes stays.
    """
    if not run_dir.exists():
        return
    with exclusive(run_dir):
        server = recorded(run_dir)
        if server is not None:
            _mention_crash(server, run_dir)
            processes.kill_members(server.pid, run_dir, patience_s=0)
            _forget(run_dir)


def quote_log(run_dir: Path) -> str:
    """The log's last lines that say why something failed."""
    return server_log.quote(run_dir / server_log.LOG_NAME)


def _make_room(run_dir: Path) -> None:
    """Refuse a second server; clean up after one that crashed, or whose start was killed."""
    server = recorded(run_dir)
    if server is None:
        shared_memory.remove_regions(shm_prefix(run_dir))
        return
    if server.is_alive and running.find(run_dir) is not None:
        raise ServerError(
            f"a server runs from {run_dir.resolve()} already: pid {server.pid}, gRPC {server.grpc_url}, "
            f"HTTP {server.http_url}, repository {server.repository}. python -m server stop ends it."
        )
    log.warning("cleaning up after a server (pid %d) that was not stopped", server.pid)
    _end(server, run_dir)


def _attempt(options: StartOptions, models: list[str], *, last: bool) -> RunningServer | None:
    """Start once; None when a free port was taken meanwhile, or it aborted, and another attempt is worth it."""
    ports = choose(Ports(options.http_port, options.grpc_port, options.metrics_port))
    run_dir = options.run_dir
    server_id, key = f"lnclip-{secrets.token_hex(8)}", secrets.token_urlsafe(24)
    request = LaunchRequest(options.repository, models, options.flavour, ports, run_dir, server_id, key)
    launch = build_launch(request)
    log_file = run_dir / server_log.LOG_NAME
    keep_previous_log(log_file)
    server = _spawn(launch, request, ports)
    with ExitStack() as undo:  # whatever happens, Ctrl-C too: the server must not outlive a failed start
        undo.callback(_end, server, run_dir, patience_s=1.0)
        problem = _wait_until_ready(server, server_id, options.ready_timeout_s)
        if problem is None:
            running.save(server, run_dir)
            (starting_folder(run_dir) / "server.json").unlink()
            log.info("pid %d serves %s; log %s", server.pid, ", ".join(models), log_file)
            undo.pop_all()
            return server
        quoted, taken = quote_log(run_dir), server_log.taken_port(log_file)
    if taken is not None and taken not in (options.http_port, options.grpc_port, options.metrics_port) and not last:
        log.warning("port %d was taken while the server started: trying others", taken)
        return None
    if ABORTED in problem and not last:
        log.warning("tritonserver aborted while it started: trying again; %s", quoted)
        return None
    raise ServerError(f"tritonserver {problem}; {quoted}")


def _spawn(launch: Launch, request: LaunchRequest, ports: BoundPorts) -> RunningServer:
    """Run it and leave a record that it is starting."""
    run_dir = request.run_dir
    pid = processes.spawn(launch.arguments, launch.environment, run_dir / server_log.LOG_NAME)
    server = RunningServer(
        pid=pid,
        start_ticks=start_ticks(pid) or 0,
        http_url=f"{HOST}:{ports.http}",
        grpc_url=f"{HOST}:{ports.grpc}",
        metrics_url=f"{HOST}:{ports.metrics}",
        repository=request.repository.resolve(),
        flavour=request.flavour,
        key=request.key,
    )
    running.save(server, starting_folder(run_dir))
    return server


def _wait_until_ready(server: RunningServer, server_id: str, timeout_s: float) -> str | None:
    """None once every model is ready and every port answers, else what happened instead."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        ended = processes.reap(server.pid)
        if ended is not None or not server.is_alive:
            return f"ended while it started ({ended or 'status unknown'})"
        others = all(map(health.is_listening, (server.grpc_url, server.metrics_url)))
        if others and health.is_ready(server.http_url, POLL_S * 10) and health.server_id(server.http_url) == server_id:
            return None
        time.sleep(POLL_S)
    return f"was not ready after {timeout_s:g} s"


def _mention_crash(server: RunningServer, run_dir: Path) -> None:
    """Say why a server is gone that should run."""
    if not server.is_alive:
        log.warning("the server (pid %d) had stopped by itself; %s", server.pid, quote_log(run_dir))


def _end(server: RunningServer, run_dir: Path, patience_s: float = STOP_S) -> None:
    """Terminate a server, then whatever of its session stays, then forget it."""
    if not processes.terminate(server.pid, server.start_ticks, patience_s):
        log.warning("the server (pid %d) did not stop within %g s: killing it", server.pid, patience_s)
        processes.kill_members(server.pid, run_dir, patience_s=0)
    for process in processes.kill_members(server.pid, run_dir):
        log.warning("killed process %d, which did not leave: %s", process.pid, " ".join(process.arguments)[:120])
    _forget(run_dir)


def _forget(run_dir: Path) -> None:
    """Remove what a server that is gone has left."""
    shared_memory.remove_regions(shm_prefix(run_dir))
    forget(run_dir)
