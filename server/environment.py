"""Makes the two environments, and says exactly what this machine lacks for them.

    python3 server/environment.py        # 40 s to 3 min the first time, then half a second

Standard library only: it runs before anything is installed. ``.venv`` is the project's,
``.venv-triton`` that of Triton's Python models; both have the same Python, because Triton's stub
is built for one. ``server doctor`` uses the same checks.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
if not __package__:  # run by path: then the import path has this folder, not the one that holds the package
    sys.path.insert(0, str(ROOT))

from server.interpreters import Interpreter, MissingError, check_machine, choose_python, describe  # noqa: E402

PROJECT_ENV = ROOT / ".venv"
SERVING_ENV = ROOT / ".venv-triton"
PINNED = {PROJECT_ENV: ROOT / "requirements.txt", SERVING_ENV: ROOT / "server" / "requirements.txt"}
"""Fully pinned: what each environment holds."""

UV_VERSION = "0.13.9"
"""Installed into build/uv where there is no uv on PATH."""

DISK_BYTES = {PROJECT_ENV: 9 * 10**9, SERVING_ENV: 10**9}
"""Seen: 7.2 GB (torch's CUDA libraries) and 0.2 GB; uv unpacks beside them."""

STAMP = ".lnclip-setup"
"""In each environment: a hash of what was installed into it."""


def minor_version(environment: Path) -> int:
    """The x of an environment's Python 3.x.

    Raises:
        MissingError: there is no environment.
    """
    for folder in environment.glob("lib/python3.*"):
        return int(folder.name.removeprefix("python3."))
    raise MissingError(f"{environment} is not there: run make setup")


def installed_version(package: str, environment: Path) -> str | None:
    """The version of a package in an environment, or None."""
    folders = [str(folder) for folder in environment.glob("lib/python3.*/site-packages")]
    return next((found.version for found in metadata.distributions(name=package, path=folders)), None)


def find_uv(python: Interpreter) -> str:
    """``uv`` from PATH, else a pinned one in build/uv, made with pip.

    Raises:
        MissingError: pip could not install it.
    """
    if found := shutil.which("uv"):
        return found
    folder = ROOT / "build" / "uv"
    uv = folder / "bin" / "uv"
    if not uv.is_file():
        say(f"no uv on PATH: installing uv {UV_VERSION} into {folder}")
        run([python.path, "-m", "venv", "--clear", str(folder)])
        run([str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", f"uv=={UV_VERSION}"])
    return str(uv)


def fingerprint(pinned: Path, python: Interpreter) -> str:
    """A hash of all that decides what an environment holds; with ROOT, for the project is installed as a link."""
    digest = hashlib.sha256(repr((str(ROOT), python.path, python.version)).encode())
    for path in (pinned, ROOT / "pyproject.toml"):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def is_current(environment: Path) -> bool:
    """Whether an environment was made from the pinned files and the Python that are there now."""
    python = describe(str(environment / "bin" / "python"))
    try:
        stamped = (environment / STAMP).read_text(encoding="utf-8")
    except OSError:
        return False
    return python is not None and stamped == fingerprint(PINNED[environment], python)


def install(environment: Path, python: Interpreter, uv: str) -> None:
    """Bring one environment to what its pinned file says, with this project itself (editable) in it.

    Raises:
        MissingError: too little disk, or a download or an installation failed.
    """
    inside = str(environment / "bin" / "python")
    present = describe(inside)
    if present is None or present.version[:2] != python.version[:2]:
        free = shutil.disk_usage(ROOT).free
        if free < DISK_BYTES[environment]:
            need = DISK_BYTES[environment] / 1e9
            raise MissingError(
                f"{environment} needs about {need:.0f} GB of disk, {free / 1e9:.1f} GB are free in {ROOT}"
            )
        run([uv, "venv", "--quiet", "--clear", "--python", python.path, str(environment)])
    say(f"installing {PINNED[environment].relative_to(ROOT)} into {environment.name}")
    target = ["--python", inside]
    run([uv, "pip", "install", "--quiet", "--no-deps", *target, "-r", str(PINNED[environment])])
    run([uv, "pip", "install", "--quiet", "--no-deps", *target, "--editable", str(ROOT)])
    if (present := describe(inside)) is not None:
        (environment / STAMP).write_text(fingerprint(PINNED[environment], present), encoding="utf-8")


def run(arguments: list[str]) -> None:
    """Run a program that talks on stderr.

    Raises:
        MissingError: it failed.
    """
    ours = {name: value for name, value in os.environ.items() if name not in {"VIRTUAL_ENV", "PYTHONPATH"}}
    status = subprocess.run(arguments, stdout=sys.stderr, env=ours, check=False, cwd=ROOT).returncode
    if status:
        raise MissingError(
            f"this failed with status {status} (its message is above): {' '.join(arguments)}\n"
            "  Where packages come from a mirror, tell uv with UV_DEFAULT_INDEX: it does not read pip's configuration."
        )


def say(text: str) -> None:
    """A line of progress."""
    sys.stderr.write(f"setup: {text}\n")


def main() -> int:
    """Make what is missing; 0 when both environments are as pinned, 2 when something is missing here."""
    if all(map(is_current, PINNED)):
        return 0
    try:
        check_machine()
        python = choose_python(SERVING_ENV, has_uv=shutil.which("uv") is not None)
        uv = find_uv(python)
        for environment in PINNED:
            if not is_current(environment):
                install(environment, python, uv)
    except MissingError as error:
        sys.stderr.write(f"setup: {error}\n")
        return 2
    say("both environments are ready")
    return 0


if __name__ == "__main__":
    sys.exit(main())
