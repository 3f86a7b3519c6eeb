"""A table's row on its way to being an input: its cells as JSON values."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from pydantic import JsonValue

_UNWRITABLE = re.compile("[\0\ud800-\udfff]")
"""NUL, and surrogates: those that ``surrogateescape`` keeps bytes as, and any others."""

Cells = Mapping[str, JsonValue]


class Record(NamedTuple):
    """One row."""

    cells: Cells
    """Texts may hold surrogates where the table's bytes are not UTF-8."""

    problem: str | None = None
    """Why it cannot be right."""


class Records(NamedTuple):
    """A table that is being read."""

    columns: Sequence[str]
    rows: Iterator[Record]


def is_clean(value: JsonValue) -> bool:
    """Whether all text in it can be written down: neither NUL nor bytes that are not UTF-8."""
    if isinstance(value, str):
        return _UNWRITABLE.search(value) is None
    if isinstance(value, list):
        return all(map(is_clean, value))
    if isinstance(value, dict):
        return all(is_clean(key) and is_clean(inner) for key, inner in value.items())
    return True


def clean(value: JsonValue) -> JsonValue:
    r"""With what cannot be written down as ``\xff``."""
    if isinstance(value, str):
        return _UNWRITABLE.sub(_written, value)
    if isinstance(value, list):
        return [clean(inner) for inner in value]
    if isinstance(value, dict):
        return {_UNWRITABLE.sub(_written, key): clean(inner) for key, inner in value.items()}
    return value


def as_json(value: object) -> JsonValue:
    """A value as JSON has it: what is no number is null, infinity and what JSON does not know is text."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None if math.isnan(value) else str(value)
    if isinstance(value, list | tuple):
        return [as_json(inner) for inner in value]
    if isinstance(value, dict):
        return {str(key): as_json(inner) for key, inner in value.items()}
    return str(value)


def _written(match: re.Match[str]) -> str:
    code = ord(match[0])
    return rf"\u{code:04x}" if 0xFF < code < 0xDC80 or code > 0xDCFF else rf"\x{code & 0xFF:02x}"
