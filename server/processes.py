"""One server's processes: started apart from ours, found again, and never left behind.

tritonserver leads a session of its own; its Python stubs belong to that session and carry
``LNCLIP_RUN_DIR`` in their environment. Both together say "ours": a pid alone may be used again.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from lnclip.running import start_ticks

MARKER = "LNCLIP_RUN_DIR"
"""Environment variable that names the run folder a process belongs to."""

STUB_EXIT_S = 3.0
"""A stub looks for its parent about once a second and then leaves by itself."""


class Process(NamedTuple):
    """One process, as /proc shows it."""

    pid: int
    arguments: tuple[str, ...]


def spawn(arguments: Sequence[str], environment: Mapping[str, str], log_file: Path) -> int:
    """Start a program in its own session: no terminal, no stdin, output to ``log_file``; gives its pid.

    Python ignores SIGPIPE and the child inherits that on purpose: this tritonserver can die of a
    client that hangs up (fixed upstream in 26.06).
    """
    append = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    return os.posix_spawn(
        arguments[0],
        list(arguments),
        dict(environment),
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log_file), append, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
        setsigdef=[signal.SIGINT, signal.SIGTERM, signal.SIGHUP],
    )


def reap(pid: int) -> str | None:
    """How a child of ours ended ("status 1", "signal SIGKILL"), or None: it runs, or is no child of ours."""
    try:
        ended, status = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return None
    if not ended:
        return None
    code = os.waitstatus_to_exitcode(status)
    return f"status {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"


def members(session: int, run_dir: Path) -> list[Process]:
    """The running processes of a session that were started for ``run_dir``, its leader included."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            if os.getsid(int(entry.name)) != session:
                continue
            environment = (entry / "environ").read_bytes()
            arguments = (entry / "cmdline").read_bytes()
        except OSError:  # gone meanwhile, or another user's
            continue
        if os.fsencode(f"{MARKER}={run_dir.resolve()}") in environment.split(b"\0") and start_ticks(int(entry.name)):
            found.append(Process(int(entry.name), tuple(map(os.fsdecode, arguments.rstrip(b"\0").split(b"\0")))))
    return found


def terminate(pid: int, ticks: int, timeout_s: float) -> bool:
    """Ask one process to leave (SIGTERM) and wait for it.

    Args:
        pid: of the process.
        ticks: its ``lnclip.running.start_ticks``: another process with the same pid is left alone.
        timeout_s: how long to wait.

    Returns:
        Whether it is gone.
    """
    if start_ticks(pid) == ticks:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        reap(pid)
        if start_ticks(pid) != ticks:
            return True
        time.sleep(0.05)
    return False


def kill_members(session: int, run_dir: Path, patience_s: float = STUB_EXIT_S) -> list[Process]:
    """Wait a moment for a session's processes to leave, then kill what is left, one by one; gives the killed ones."""
    deadline = time.monotonic() + patience_s
    while (left := members(session, run_dir)) and time.monotonic() < deadline:
        time.sleep(0.1)
    for process in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
    deadline = time.monotonic() + STUB_EXIT_S
    while members(session, run_dir) and time.monotonic() < deadline:
        time.sleep(0.02)
    reap(session)
    return left
