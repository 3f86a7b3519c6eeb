"""Which inputs there are, which of them came up in this run, and where the newest row of each lies.

An input is known by its path and the columns that came with it: two rows of a table that name the
same file but differ elsewhere are two inputs. The index is a private temporary database on disk, so
memory stays flat in the number of inputs.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import TracebackType
from typing import NamedTuple, Self

from pydantic import JsonValue

from client.pipeline import Standing
from client.reading import stamp
from client.rows import Row, printable_path
from client.sources.finding import Found
from client.sources.stores import Stamp, is_url
from lnclip.errors import ConfigError

TRY_AGAIN = frozenset(
    (
        *("cancelled", "unknown", "invalid_argument", "deadline_exceeded", "permission_denied", "resource_exhausted"),
        *("failed_precondition", "aborted", "unimplemented", "internal", "unavailable", "unauthenticated"),
        *("bad_answer", "spec_mismatch", "model_changed", "read_failed"),
    )
)
"""Codes of errors that say nothing about the file: the gRPC statuses, and what server or disk did wrong."""

_TABLE = """
CREATE TABLE inputs (
    id BLOB PRIMARY KEY, place INTEGER, size INTEGER, mtime INTEGER, outcome TEXT, seen INTEGER NOT NULL
) WITHOUT ROWID
"""
_NEWER_ROW = """
INSERT INTO inputs VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET
    place = excluded.place, size = excluded.size, mtime = excluded.mtime, outcome = excluded.outcome,
    seen = max(seen, excluded.seen)
"""
_IN_RESULT = "FROM inputs WHERE place IS NOT NULL AND seen >= ?"


class PlacedRow(NamedTuple):
    """A row, and where its line begins, bytes."""

    row: Row
    place: int


class _Remembered(NamedTuple):
    """What an earlier run wrote of an input."""

    size: int | None
    mtime: int | None
    outcome: str | None

    def holds_for(self, now: Stamp | None) -> bool:
        """Whether that row still stands, for a file of this size and time of change."""
        before = None if self.size is None else Stamp(self.size, self.mtime)
        # a model that was unloaded is "not_found" as well, but then the file was read
        return before == now and self.outcome not in TRY_AGAIN and (self.outcome != "not_found" or before is None)


class InputIndex:
    """Safe to use from any thread. A context manager."""

    def __init__(self) -> None:
        # "": SQLite's own temporary file, gone when it is closed
        self._database = sqlite3.connect("", check_same_thread=False, isolation_level=None)
        self._lock = threading.Lock()
        with self._opened() as database:
            database.execute("PRAGMA journal_mode = OFF")
            database.execute(_TABLE)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Remove it."""
        with self._lock:
            self._database.close()

    def add(self, rows: Iterable[PlacedRow], *, seen: bool) -> None:
        """Note the newest rows of their inputs; ``seen``: of this run.

        Raises:
            ConfigError: no room for the index (so do the others).
        """
        values = (
            (
                input_id(row.path, row.columns),
                place,
                row.size_bytes,
                row.mtime_ns,
                row.error.code if row.error else row.status,
                seen,
            )
            for row, place in rows
        )
        with self._opened() as database:
            database.executemany(_NEWER_ROW, values)

    def recall(self, inputs: Sequence[Found]) -> list[Standing]:
        """Note that these came up in this run, and say which of them are to be scored."""
        with self._opened() as database:
            known = [_meet(database, found) for found in inputs]
        changeable = [found.path for found, what in zip(inputs, known, strict=True) if isinstance(what, _Remembered)]
        stamps = iter(_stamps(changeable))
        return [
            what if not isinstance(what, _Remembered) else "kept" if what.holds_for(next(stamps)) else "new"
            for what in known
        ]

    def places(self, *, only_seen: bool) -> Iterator[int]:
        """Where the newest rows are, ascending."""
        with self._opened() as database:
            cursor = database.execute(f"SELECT place {_IN_RESULT} ORDER BY place", (only_seen,))
        return (place for (place,) in cursor)

    def outcomes(self, *, only_seen: bool) -> Counter[str]:
        """How many of those are ``ok``, ``no_face``, or errors of each code."""
        with self._opened() as database:
            return Counter(dict(database.execute(f"SELECT outcome, count(*) {_IN_RESULT} GROUP BY 1", (only_seen,))))

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        """For one thread at a time, in one transaction."""
        with self._lock:
            try:
                self._database.execute("BEGIN")
                yield self._database
                self._database.execute("COMMIT")
            except sqlite3.OperationalError as error:
                raise ConfigError(f"the temporary index of inputs cannot be written ({error}): see TMPDIR") from error


def input_id(printed_path: str, columns: Mapping[str, JsonValue]) -> bytes:
    """16 bytes that say which input a row is of."""
    text = f"{printed_path}\0{json.dumps(columns, sort_keys=True) if columns else ''}"
    return hashlib.sha256(text.encode()).digest()[:16]


def _meet(database: sqlite3.Connection, found: Found) -> Standing | _Remembered:
    key = input_id(printable_path(found.path), found.columns)
    record = database.execute("SELECT size, mtime, outcome, seen FROM inputs WHERE id = ?", (key,)).fetchone()
    if record is None:
        database.execute("INSERT INTO inputs (id, seen) VALUES (?, 1)", (key,))
        return "new"
    *remembered, seen = record
    if seen:
        return "duplicate"
    database.execute("UPDATE inputs SET seen = 1 WHERE id = ?", (key,))
    return _Remembered(*remembered)


def _stamps(paths: list[str]) -> list[Stamp | None]:
    """Of URLs at once: each may be a round trip."""
    if not any(map(is_url, paths)):
        return [stamp(path) for path in paths]
    with ThreadPoolExecutor(min(32, len(paths))) as threads:
        return list(threads.map(stamp, paths))
