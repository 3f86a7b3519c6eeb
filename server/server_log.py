"""tritonserver's log, for people: the lines that say why, without the tables."""

from __future__ import annotations

import re
from pathlib import Path

LOG_NAME = "tritonserver.log"
KEPT_BYTES = 200_000
"""Read from the end: a log of months may be large."""

TAIL_LINES = 12
NOISE = re.compile(r"CudaDriverHelper|CUDA driver version|^[+|]|^[IW]\d{4} |^\s*$")
FAILED_MODEL = re.compile(r"failed to load '[^']*' version .*(?=\")")
TAKEN = re.compile(r"Socket '[^']*:(\d+)' already in use")


def tail(log_file: Path) -> list[str]:
    """The last lines, noise included."""
    try:
        with log_file.open("rb") as file:
            file.seek(max(0, log_file.stat().st_size - KEPT_BYTES))
            return file.read().decode(errors="replace").splitlines()
    except FileNotFoundError:
        return []


def reasons(log_file: Path, limit: int = TAIL_LINES) -> list[str]:
    """Why it failed: the reason of each model that did not load, else the last errors, else the last lines."""
    lines = tail(log_file)
    if failed := dict.fromkeys(match[0] for line in lines if (match := FAILED_MODEL.search(line))):
        return [line for line in "\n".join(failed).replace("\\n", "\n").splitlines() if line.strip()][-limit:]
    telling = [line for line in lines if not NOISE.search(line)]
    return (telling or [line for line in lines if line.strip()])[-limit:]


def quote(log_file: Path) -> str:
    """The reasons, indented, under the name of the file that holds the rest."""
    return "\n".join([f"the log, {log_file}, ends with:", *(f"  {line}" for line in reasons(log_file))])


def taken_port(log_file: Path) -> int | None:
    """The port that a server could not bind, if that is why it left."""
    for line in tail(log_file):
        if match := TAKEN.search(line):
            return int(match[1])
    return None
