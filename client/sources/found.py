"""What a source hands on: one input, or one thing that is none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

from pydantic import JsonValue

from client.rows import RowError


class Found(NamedTuple):
    """One thing that a source came across."""

    path: str
    """A file's path or URL. Bytes that are not UTF-8 are kept as ``os.fsdecode`` keeps them."""

    what: Literal["input", "skipped", "duplicate"]
    """An ``input`` has a row, whatever becomes of it; what is ``skipped`` is no image or video."""

    columns: Mapping[str, JsonValue] = {}
    """Of a table's row, all but its path."""

    error: RowError | None = None
    """Why this input cannot be read at all: a folder that cannot be listed, a table's row without a path."""
