"""Which server runs here: ``.run/server.json``, written by ``server start`` and read by every command."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from lnclip.artifact import Flavour
from lnclip.errors import ServerError

RUN_DIR = Path(".run")
"""Below the working directory: one server for each."""


class RunningServer(BaseModel):
    """A started Triton, and what is needed to talk to it or to stop it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    pid: int
    start_ticks: int
    """Clock ticks between boot and the process's start (field 22 of /proc/PID/stat): with the
    pid it names one process for good, for pids are used again."""

    http_url: str
    grpc_url: str
    metrics_url: str
    """All three ``host:port``."""

    repository: Path
    flavour: Flavour
    key: str
    """Value of the header that opens the restricted APIs (model control, shared memory)."""

    @property
    def is_alive(self) -> bool:
        """Whether that very process still runs."""
        return start_ticks(self.pid) == self.start_ticks


def start_ticks(pid: int) -> int | None:
    """When a process started, in clock ticks since boot; None when it does not run or is a zombie.

    Source: proc(5), /proc/PID/stat fields 3 and 22; the name in field 2 may hold spaces.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return None
    state, ticks = fields[0], int(fields[19])
    return None if state in "ZX" else ticks


def save(server: RunningServer, run_dir: Path = RUN_DIR) -> None:
    """Write ``server.json``, readable by its owner alone: it holds the key."""
    run_dir.mkdir(parents=True, exist_ok=True)
    temporary = run_dir / f"server.json.{os.getpid()}"
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(server.model_dump_json(indent=2) + "\n")
    temporary.replace(run_dir / "server.json")


def find(run_dir: Path = RUN_DIR) -> RunningServer | None:
    """The server that runs from here, or None.

    Raises:
        ServerError: the file is there and cannot be understood.
    """
    path = run_dir / "server.json"
    try:
        server = RunningServer.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        raise ServerError(f"{path} cannot be read: {error}. Remove it if no server runs.") from error
    return server if server.is_alive else None


def grpc_url(given: str | None, run_dir: Path = RUN_DIR) -> str:
    """The address to call: the one given, else the running server's.

    Raises:
        ServerError: none was given and no server runs from here, or it is no gRPC address.
    """
    if given and "://" in given:
        raise ServerError(f"{given} is no gRPC address: give HOST:PORT alone, without {given.partition('://')[0]}://")
    if given and not given.rpartition(":")[2].isdecimal():
        raise ServerError(f"{given} names no port: give HOST:PORT, the port of gRPC")
    if given:
        return given
    server = find(run_dir)
    if server is None:
        crashed = " any more (python -m server status says why)" if (run_dir / "server.json").exists() else ""
        raise ServerError(
            f"no server runs from {run_dir.resolve()}{crashed}: python -m server start, or give --url HOST:PORT"
        )
    return server.grpc_url
