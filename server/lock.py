"""``make lock``: pin both environments anew, without download addresses or hashes of files.

Pins that still fit are kept; ``make lock ARGS=--upgrade`` looks for newer ones.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from server.environment import PINNED, PROJECT_ENV, ROOT, SERVING_ENV, find_uv, run, say
from server.interpreters import MissingError, choose_python

SOURCES = {
    PROJECT_ENV: ("pyproject.toml", "--group", "dev", "--overrides", "requirements.overrides"),
    SERVING_ENV: ("server/requirements.in", "--overrides", "server/requirements.overrides"),
}
OPTIONS = (
    "--universal",
    "--no-annotate",
    "--no-header",
    "--no-emit-index-url",
    "--no-emit-find-links",
    "--python-version=3.11",
    "--quiet",
)
NEVER = "sys_platform == 'never'"
"""How an override leaves a package out; uv writes the line nevertheless."""


def without_excluded(text: str) -> str:
    """Requirement lines less those whose marker can never be true."""
    return "".join(line for line in text.splitlines(keepends=True) if NEVER not in line)


def pin(source: tuple[str, ...], pinned: Path, uv: str, options: list[str]) -> None:
    """Compile one set of requirements into its pinned file.

    Raises:
        MissingError: uv could not resolve them.
    """
    run([uv, "pip", "compile", *source, *OPTIONS, *options, "--output-file", str(pinned)])
    pinned.write_text(without_excluded(pinned.read_text(encoding="utf-8")), encoding="utf-8")


def main(options: list[str]) -> int:
    """Pin both; 2 when that failed."""
    try:
        uv = find_uv(choose_python(SERVING_ENV, has_uv=shutil.which("uv") is not None))
        for environment, pinned in PINNED.items():
            say(f"pinning {pinned.relative_to(ROOT)}")
            pin(SOURCES[environment], pinned, uv, options)
    except MissingError as error:
        sys.stderr.write(f"lock: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
