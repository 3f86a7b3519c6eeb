"""The run folder (``.run``): one server for each, one start or stop at a time.

``server.json`` names the server that is ready; ``starting/server.json`` one that is not ready yet, so
that a start which was killed half way leaves nothing that nobody knows of.
"""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError

from lnclip.errors import ServerError
from lnclip.running import RunningServer

log = logging.getLogger(__name__)


def starting_folder(run_dir: Path) -> Path:
    """Where the record of a server lies until it is ready."""
    return run_dir / "starting"


@contextmanager
def exclusive(run_dir: Path) -> Iterator[None]:
    """Hold the run folder: another start or stop waits until this one is through.

    The lock goes with the process that holds it; tritonserver does not inherit it.
    """
    run_dir.mkdir(parents=True, exist_ok=True)
    with (run_dir / "lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.info("waiting for another start or stop in %s", run_dir.resolve())
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def recorded(run_dir: Path) -> RunningServer | None:
    """The server that was last started from here and not stopped: it may run, have crashed, or not be ready yet.

    Raises:
        ServerError: its record cannot be understood.
    """
    for path in (run_dir / "server.json", starting_folder(run_dir) / "server.json"):
        try:
            return RunningServer.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            continue
        except (OSError, ValidationError) as error:
            raise ServerError(f"{path} cannot be read: {error}. Remove it if no server runs.") from error
    return None


def forget(run_dir: Path) -> None:
    """Remove the records."""
    for path in (run_dir / "server.json", starting_folder(run_dir) / "server.json"):
        path.unlink(missing_ok=True)


def keep_previous_log(log_file: Path) -> None:
    """A new start has a new log; the one before stays readable beside it."""
    if log_file.exists():
        log_file.replace(log_file.with_suffix(".previous.log"))
    os.close(os.open(log_file, os.O_WRONLY | os.O_CREAT, 0o600))
