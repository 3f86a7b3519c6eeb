"""Rows into a file; its ending says how, and it is there only when it is whole.

What a run scored so far is in its journal (``client.journal``), from which the file is made at the end.
"""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from client.replacing import replacing
from client.rows import Row
from client.schema import COLUMNS, PARQUET, csv_cells, parquet_cells
from lnclip.errors import ConfigError

ENDINGS = (".jsonl", ".csv", ".parquet")

ROW_GROUP = 2000
"""Rows that are kept in memory for one Parquet row group."""


class RowWriter(Protocol):
    """An open result file."""

    def write(self, rows: Sequence[Row]) -> None:
        """Append; blocking."""
        ...


def check_output(path: Path, *, may_exist: bool) -> None:
    """See before any work whether a result can be written there.

    Raises:
        ConfigError: unknown ending, the file exists, or its folder is missing or not writable.
    """
    if path.suffix.lower() not in ENDINGS:
        raise ConfigError(f"{path}: the ending picks the format and must be one of {', '.join(ENDINGS)}")
    if path.is_dir():
        raise ConfigError(f"{path} is a folder; name a file")
    if path.exists() and not may_exist:
        raise ConfigError(f"{path} exists already: name another file, or give --overwrite, or --resume to add to it")
    try:
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from error


@contextmanager
def open_writer(path: Path) -> Iterator[RowWriter]:
    """A writer for the format of ``path``; when the block ends well, the file takes the place of what was there.

    Raises:
        ConfigError: writing fails (a full disk, say).
    """
    opened = {".jsonl": _open_jsonl, ".csv": _open_csv, ".parquet": _open_parquet}[path.suffix.lower()]
    try:
        with replacing(path) as partial, opened(partial) as writer:
            yield writer
    except OSError as error:  # of opening, of writing in the caller's block, or of closing
        raise ConfigError(f"{path} cannot be written: {error.strerror or error}") from error


class JsonLines:
    """A ``RowWriter`` whose lines are a journal's."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def write(self, rows: Sequence[Row]) -> None:
        """See ``RowWriter``."""
        self._file.writelines(row.model_dump_json().encode() + b"\n" for row in rows)

    def copy(self, line: bytes) -> None:
        """Write a row that is a line already."""
        self._file.write(line)


class _UnixLines:
    """csv quotes a carriage return only when it ends lines; here it does, and is taken off again."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def write(self, line: str) -> None:
        self._file.write(line.removesuffix("\r\n") + "\n")


class _Csv:
    def __init__(self, file: IO[str]) -> None:
        self._csv = csv.writer(_UnixLines(file), lineterminator="\r\n")
        self._csv.writerow(COLUMNS)

    def write(self, rows: Sequence[Row]) -> None:
        self._csv.writerows(csv_cells(row) for row in rows)


class _Parquet:
    def __init__(self, writer: pq.ParquetWriter) -> None:
        self._writer = writer
        self._rows: list[Row] = []

    def write(self, rows: Sequence[Row]) -> None:
        self._rows.extend(rows)
        if len(self._rows) >= ROW_GROUP:
            self.flush()

    def flush(self) -> None:
        cells = [parquet_cells(row) for row in self._rows]
        self._writer.write_table(pa.Table.from_pylist(cells, schema=PARQUET))
        self._rows.clear()


@contextmanager
def _open_jsonl(path: Path) -> Iterator[RowWriter]:
    with path.open("wb") as file:
        yield JsonLines(file)


@contextmanager
def _open_csv(path: Path) -> Iterator[RowWriter]:
    with path.open("w", encoding="utf-8", newline="") as file:
        yield _Csv(file)


@contextmanager
def _open_parquet(path: Path) -> Iterator[RowWriter]:
    with pq.ParquetWriter(path, PARQUET, compression="zstd") as file:
        writer = _Parquet(file)
        yield writer
        writer.flush()
