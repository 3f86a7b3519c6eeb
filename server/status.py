"""What runs from a run folder, and how it is."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from lnclip.errors import LnclipError
from lnclip.running import RUN_DIR, RunningServer
from server import control, health, run_folder, server_log
from server.probe import missing_instances, probe


class ModelStatus(BaseModel):
    """One version of one served model."""

    model_config = ConfigDict(frozen=True)

    name: str
    version: str
    state: str
    reason: str


class ServerStatus(BaseModel):
    """The answer of ``python -m server status``."""

    model_config = ConfigDict(frozen=True)

    running: bool
    """The process is there."""

    ready: bool = False
    """It says that all its models are."""

    pid: int | None = None
    uptime_s: float | None = None
    http_url: str | None = None
    grpc_url: str | None = None
    metrics_url: str | None = None
    repository: Path | None = None
    flavour: str | None = None
    models: tuple[ModelStatus, ...] = ()
    probe_ms: float | None = None
    """One image without a face through the ensemble, nothing else asked of it."""

    problems: tuple[str, ...] = ()
    log: tuple[str, ...] = ()
    """After a crash: the lines that say why."""

    @property
    def is_well(self) -> bool:
        """Whether it runs and nothing is wrong with it."""
        return self.running and self.ready and not self.problems


def inspect(run_dir: Path = RUN_DIR) -> ServerStatus:
    """Look at the server of a run folder.

    Raises:
        ServerError: its record cannot be understood.
    """
    server = run_folder.recorded(run_dir)
    if server is None:
        return ServerStatus(
            running=False, problems=(f"no server runs from {run_dir.resolve()}: python -m server start",)
        )
    if not server.is_alive:
        problem = (
            f"the server (pid {server.pid}) crashed or was killed: python -m server start cleans up and starts anew"
        )
        log = server_log.reasons(run_dir / server_log.LOG_NAME)
        return ServerStatus(running=False, pid=server.pid, problems=(problem,), log=tuple(log))
    return _look_at(server, run_dir)


def _look_at(server: RunningServer, run_dir: Path) -> ServerStatus:
    problems = []
    ready = health.is_ready(server.http_url)
    if not ready:
        starting = not (run_dir / "server.json").exists()
        problems.append("it is still starting" if starting else "it is not ready (a model is not, or it is stopping)")
    models: list[control.ModelState] = []
    probe_ms = None
    try:
        if missing := missing_instances(server, run_dir):
            problems.append(f"killed stubs: {', '.join(missing)}: python -m server stop, then start")
        models = control.model_states(server)
        probe_ms = probe(server) if ready else None
    except LnclipError as error:
        problems.append(str(error))
    return ServerStatus(
        running=True,
        ready=ready,
        pid=server.pid,
        uptime_s=round(uptime_s(server), 1),
        http_url=server.http_url,
        grpc_url=server.grpc_url,
        metrics_url=server.metrics_url,
        repository=server.repository,
        flavour=server.flavour,
        models=tuple(ModelStatus(**model._asdict()) for model in models),
        probe_ms=probe_ms,
        problems=tuple(problems),
    )


def uptime_s(server: RunningServer) -> float:
    """Seconds since the server's process started."""
    since_boot = float(Path("/proc/uptime").read_text(encoding="ascii").split()[0])
    return max(0.0, since_boot - server.start_ticks / os.sysconf("SC_CLK_TCK"))


def describe(status: ServerStatus) -> str:
    """For people."""
    lines = []
    if status.running:
        lines += [
            f"server     pid {status.pid}, {'ready' if status.ready else 'not ready'}, up {status.uptime_s:.0f} s",
            f"gRPC       {status.grpc_url}",
            f"HTTP       {status.http_url}",
            f"metrics    {status.metrics_url}/metrics",
            f"repository {status.repository} ({status.flavour})",
        ]
        lines += [
            f"model      {model.name} {model.version or '-'} {model.state} {model.reason}".rstrip()
            for model in status.models
        ]
        if status.probe_ms is not None:
            lines.append(f"answers    a test image in {status.probe_ms:.0f} ms")
    lines += [f"problem    {problem}" for problem in status.problems]
    lines += [f"log        {line}" for line in status.log]
    return "\n".join(lines)
