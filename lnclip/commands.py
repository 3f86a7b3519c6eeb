"""How every ``python -m ...`` of this project runs: where the log goes and how errors look."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable

from lnclip.errors import LnclipError


def run(app: Callable[[], object]) -> None:
    """Run a Typer app: log to stderr; an error on purpose is one line there and exit status 2."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        app()
    except LnclipError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(2)
