"""What of a long run is done: one line per input, so that a run that was cut off goes on where it was."""

from __future__ import annotations

import fcntl
import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from lnclip.errors import ConfigError
from training.data.cutting import Outcome, Task

log = logging.getLogger(__name__)


class Journal:
    """An open journal."""

    def __init__(self, file: BinaryIO) -> None:
        """Use ``open_journal``."""
        self._file = file
        self.done: dict[str, Outcome] = {}
        """By ``key``."""

    def add(self, key: str, outcome: Outcome) -> None:
        """Note an input as done; at once, but not through a power cut."""
        self.done[key] = outcome
        self._file.write(json.dumps({"input": key, "outcome": outcome}).encode() + b"\n")
        self._file.flush()


def input_key(task: Task) -> str:
    """What identifies an input and its content without reading it: names, sizes and times of change.

    Raises:
        OSError: it is not there.
    """
    files = [task.path] if task.mask is None else [task.path, task.mask]
    stats = [(path, path.stat()) for path in files]
    return json.dumps([task.kind, *[(str(path.absolute()), stat.st_size, stat.st_mtime_ns) for path, stat in stats]])


@contextmanager
def open_journal(path: Path, settings: Mapping[str, str | int]) -> Iterator[Journal]:
    """Read what was done, cut off a half-written last line, and go on writing; one process at a time.

    Args:
        path: made when it is not there.
        settings: what decides the crops beside the inputs.

    Raises:
        ConfigError: it is of a run with other settings, is damaged, or another process writes to it.
    """
    with path.open("a+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError(
                f"another process writes to {path.parent}; wait for it or choose another --out"
            ) from error
        file.seek(0)
        lines = file.read().split(b"\n")
        journal = Journal(file)
        file.truncate(sum(len(line) + 1 for line in lines[:-1]))
        if len(lines) == 1:
            file.write(json.dumps(settings).encode() + b"\n")
        else:
            journal.done.update(_read(path, lines[:-1], settings))
            log.info("%d files were done before: %s", len(journal.done), path)
        yield journal


def _read(path: Path, lines: list[bytes], settings: Mapping[str, str | int]) -> dict[str, Outcome]:
    try:
        before, *rows = [json.loads(line) for line in lines]
        done = {row["input"]: Outcome(*row["outcome"]) for row in rows}
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path} is damaged; remove {path.parent} or choose another --out") from error
    others = [
        f"{name} {before.get(name)}, now {value}" for name, value in settings.items() if before.get(name) != value
    ]
    if others:
        raise ConfigError(
            f"{path.parent} holds an unfinished run with other settings: {'; '.join(others)}; "
            "give the same, remove it, or choose another --out"
        )
    return {key: outcome._replace(crops=tuple(outcome.crops)) for key, outcome in done.items()}
