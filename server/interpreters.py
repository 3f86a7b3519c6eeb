"""Which Python can run this project, and what each one here lacks. Standard library only."""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

MINORS = (11, 12)
"""Python 3.x that the project runs on and that nvidia-pytriton has a stub for."""

LIBRARY_FOLDERS = (
    "/usr/lib",
    "/usr/lib64",
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/local/lib",
)

GLIBC = (2, 35)
"""nvidia-pytriton 0.7.0 comes as a manylinux_2_35 wheel."""

PYTHON_REMEDY = "apt-get install python3.11 python3.11-venv, or make setup PYTHON=/path/to/python3.11"

DESCRIBE = """
import importlib.util, json, os, sys, sysconfig
print(json.dumps({"version": sys.version_info[:3], "path": os.path.realpath(sys.executable),
  "library_folder": sysconfig.get_config_var("LIBDIR") or "",
  "makes_environments": all(importlib.util.find_spec(name) for name in ("venv", "ensurepip"))}))
"""


class MissingError(Exception):
    """Something that set-up needs is not here; the message says what and how to get it."""


class Interpreter(NamedTuple):
    """A Python that could run both environments."""

    path: str
    version: tuple[int, int, int]
    library_folder: str
    makes_environments: bool
    """Whether it has ``venv`` and ``ensurepip``; needed only where there is no uv."""

    @property
    def label(self) -> str:
        """For messages."""
        return f"{self.path} (Python {'.'.join(map(str, self.version))})"


def describe(command: str) -> Interpreter | None:
    """Ask a Python about itself; None when it does not run."""
    try:
        result = subprocess.run([command, "-c", DESCRIBE], capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):  # not there, or a pyenv shim without a version behind it
        return None
    answer = json.loads(result.stdout)
    answer["version"] = tuple(answer["version"])
    return Interpreter(**answer)


def find_libpython(minor: int, environment: Path | None = None, library_folder: str = "") -> Path | None:
    """Where libpython3.x.so.1.0 is, which Triton's stub is linked to.

    Args:
        minor: the x.
        environment: the base Python of this environment is asked as well.
        library_folder: LIBDIR of an interpreter to look into first.
    """
    name = f"libpython3.{minor}.so.1.0"
    folders = [library_folder] if library_folder else []
    if environment and (described := describe(str(environment / "bin" / "python"))):
        folders.append(described.library_folder)
        folders.append(str(Path(described.path).parents[1] / "lib"))
    for folder in (*folders, *LIBRARY_FOLDERS):
        if (Path(folder) / name).is_file():
            return Path(folder) / name
    ldconfig = shutil.which("ldconfig") or "/sbin/ldconfig"
    try:
        listed = subprocess.run([ldconfig, "-p"], capture_output=True, text=True, check=False, timeout=30).stdout
    except OSError:
        return None
    for line in listed.splitlines():
        if line.strip().startswith(name + " ") and Path(path := line.rpartition("=> ")[2]).is_file():
            return Path(path)
    return None


def libpython_remedy(minor: int) -> str:
    """How to get it."""
    return (
        f"apt-get install libpython3.{minor} (Debian, Ubuntu), dnf install python3.{minor}-libs (Fedora), "
        f"or a Python 3.{minor} built with --enable-shared"
    )


def lacks(python: Interpreter, *, has_uv: bool) -> list[str]:
    """What keeps a Python from running both environments; empty when nothing does."""
    minor = python.version[1]
    if python.version[0] != 3 or minor not in MINORS:
        return [f"{python.label}: Python 3.11 or 3.12 is needed ({PYTHON_REMEDY})"]
    found = []
    if not has_uv and not python.makes_environments:
        found.append(
            f"{python.label}: it cannot make environments (no venv or ensurepip module) and there is no uv on PATH: "
            f"apt-get install python3.{minor}-venv, or install uv"
        )
    if find_libpython(minor, library_folder=python.library_folder) is None:
        found.append(f"{python.label}: Triton's stub needs libpython3.{minor}.so.1.0: {libpython_remedy(minor)}")
    return found


def choose_python(environment: Path, *, has_uv: bool) -> Interpreter:
    """The first that lacks nothing: an environment's own, the one that runs this, a python3.11 or 3.12 on PATH.

    Raises:
        MissingError: each lacks something; the message says what.
    """
    problems: list[str] = []
    seen = set()
    for command in (str(environment / "bin" / "python"), sys.executable, *(f"python3.{minor}" for minor in MINORS)):
        python = describe(command)
        if python is None or python.path in seen:
            continue
        seen.add(python.path)
        lacking = lacks(python, has_uv=has_uv)
        if not lacking:
            return python
        problems += lacking
    raise MissingError("no Python here can run this project:\n  " + "\n  ".join(problems))


def check_machine() -> None:
    """Whether the wheels that the project needs exist for this machine.

    Raises:
        MissingError: they do not.
    """
    if sys.platform != "linux" or platform.machine() != "x86_64":
        raise MissingError(
            f"Linux on x86_64 is needed (nvidia-pytriton), this is {sys.platform} on {platform.machine()}"
        )
    name, version = platform.libc_ver()
    if name != "glibc" or tuple(map(int, version.split("."))) < GLIBC:
        raise MissingError(
            f"glibc {'.'.join(map(str, GLIBC))} or newer is needed (nvidia-pytriton's tritonserver), this is "
            f"{name or 'another libc'} {version}: Debian 12, Ubuntu 22.04 or newer"
        )
