"""Rows of CSV and JSON Lines, read as they are wanted."""

from __future__ import annotations

import codecs
import csv
import io
import itertools
import json
from collections.abc import Iterator, Sequence
from typing import Protocol

from client.sources.record import Record, Records, as_json

LONGEST_CELL = 1 << 24
"""Characters of a cell; a quote that is not closed swallows no more lines than that."""

_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class CsvReader(Protocol):
    """What ``csv.reader`` returns."""

    line_num: int

    def __next__(self) -> list[str]:
        """Cells of a row."""
        ...


def open_csv(file: io.BufferedReader) -> Records:
    """UTF-8, separated by commas, with a header. Blank lines are no rows.

    Raises:
        ValueError: it has no header, or is UTF-16.
    """
    csv.field_size_limit(LONGEST_CELL)
    reader = csv.reader(
        _as_text(file), strict=True
    )  # or a quote that is not closed takes the rest of the file without a word
    try:
        columns = next((cells for cells in reader if cells), None)
    except csv.Error as error:
        raise ValueError(f"its header is no CSV: {error}") from error
    if columns is None:
        raise ValueError("it is empty; the first line must name the columns")
    return Records(columns, _csv_rows(reader, columns))


def open_json_lines(file: io.BufferedReader) -> Records:
    """A JSON object per line; the first one's names are the columns. Blank lines are no rows.

    Raises:
        ValueError: the first line is no object, there is none, or it is UTF-16.
    """
    rows = (_json_row(line) for line in _as_text(file) if not line.isspace())
    first = next(rows, None)
    if first is None:
        raise ValueError("it is empty")
    if first.problem is not None:
        raise ValueError(f"its first line is no JSON object: {first.problem}")
    return Records(tuple(first.cells), itertools.chain([first], rows))


def _as_text(file: io.BufferedReader) -> io.TextIOWrapper:
    """Bytes that are not UTF-8 are kept as surrogates, for paths may have such."""
    if file.peek(2).startswith(_UTF16):
        raise ValueError("it is UTF-16 text; save it as UTF-8")
    return io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="")


def _csv_rows(reader: CsvReader, columns: Sequence[str]) -> Iterator[Record]:
    while True:
        begin = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield Record({}, f"lines {begin} to {reader.line_num} are no CSV ({error}); is a quote not closed?")
            continue
        if not cells:
            continue
        problem = None
        if len(cells) != len(columns):
            problem = f"line {begin} has {len(cells)} cells, the header {len(columns)}"
        yield Record(dict(zip(columns, cells, strict=False)), problem)


def _json_row(line: str) -> Record:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        return Record({}, f"no JSON ({error})")
    if not isinstance(row, dict):
        return Record({}, "JSON, but not an object")
    return Record({name: as_json(value) for name, value in row.items()})
