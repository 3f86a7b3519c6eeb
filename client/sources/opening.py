"""A list or table opened for reading, wherever it lies."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from client.sources.stores import StoreObject, explain, is_url, store_errors
from lnclip.errors import ConfigError


@contextmanager
def open_source(path: str, *, anywhere: bool = False) -> Iterator[io.BufferedReader]:
    """Open a file, or an object of a store.

    Args:
        path: path or URL.
        anywhere: it will be read here and there, not from its beginning to its end.

    Raises:
        ConfigError: it cannot be opened, or not be read in the caller's block.
    """
    troubles = store_errors() if is_url(path) else (OSError,)
    try:
        if is_url(path):
            with StoreObject(path).open(anywhere=anywhere) as raw:
                yield io.BufferedReader(cast("io.RawIOBase", raw))
        else:
            with Path(path).open("rb") as file:
                yield file
    except troubles as error:
        reason = explain(error, path).message if is_url(path) else getattr(error, "strerror", None) or str(error)
        raise ConfigError(f"{path} cannot be read: {reason}") from error
