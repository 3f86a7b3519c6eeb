"""The rows of a run that is not finished: OUT.journal, from which the result OUT is made.

JSON Lines: the first line says what decides scores, every other line is a row. Lines are only ever
appended, the newest row of an input counts, and the result is made of them in one step. So a run may
be cut off at any moment and another one goes on: half a line at the end is dropped, all else is
there, and the journal is removed only after the result holds its rows.
"""

from __future__ import annotations

import bisect
import fcntl
import itertools
import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

from pydantic import JsonValue, ValidationError

from client.input_index import InputIndex, PlacedRow
from client.readers import read_rows
from client.replacing import flush_folder, replacing
from client.rows import Row
from client.run_settings import RunSettings, settings_path
from client.writers import JsonLines, check_output, open_writer
from lnclip.errors import ConfigError

FLUSH_EVERY_S = 5.0
"""Onto the disk. What a killed process wrote is kept without that; what a power cut took is scored again."""


class _Line(NamedTuple):
    number: int
    place: int
    """Where it begins, bytes."""

    text: bytes


class Journal:
    """An open journal; ``open_journal`` gives it."""

    def __init__(self, out: Path, file: IO[bytes], settings: RunSettings) -> None:
        self._out, self._path = out, journal_path(out)
        self._file = file
        self._settings = settings
        self._end, self._flushed_s = 0, time.monotonic()
        self.index = InputIndex()  # what is known of every input

    def load(self) -> None:
        """Take up what earlier runs left.

        Raises:
            ConfigError: they had other settings, or a line is damaged.
        """
        first = next(lines := self._lines(), _Line(1, 0, b""))
        self._settings.check_same(first.text, self._path)
        self._end = len(first.text)
        self.index.add(self._taken_up(lines), seen=False)
        os.ftruncate(self._file.fileno(), self._end)

    def append(self, rows: Sequence[Row]) -> None:
        """Write rows of this run down; blocking.

        Raises:
            ConfigError: that fails (a full disk); the rows that had room are there.
        """
        lines = [_as_line(row) for row in rows]
        places = list(itertools.accumulate(map(len, lines), initial=self._end))
        written, trouble = self._write(b"".join(lines))
        num_whole = bisect.bisect_right(places, self._end + written) - 1
        self.index.add(map(PlacedRow, rows[:num_whole], places), seen=True)
        self._end = places[num_whole]
        if trouble is not None:
            os.ftruncate(self._file.fileno(), self._end)
            raise ConfigError(
                f"{self._path} cannot be written: {trouble.strerror or trouble}; --resume goes on with what it holds"
            ) from trouble

    def write_result(self, *, finished: bool) -> Counter[str]:
        """Make the result, in one step.

        Args:
            finished: every input came up in this run: the result is of these alone, and the journal has
                done its duty. Otherwise the rows of earlier runs stay as well, and so does the journal.

        Returns:
            How many of its rows are ``ok``, ``no_face``, or errors of each code.

        Raises:
            ConfigError: it cannot be written; the journal is still there.
        """
        with open_writer(self._out) as writer:
            for line in self._newest_lines(only_seen=finished):
                writer.copy(line.text) if isinstance(writer, JsonLines) else writer.write([self._parse(line)])
        with _plain_errors(self._path):
            with replacing(settings_path(self._out)) as partial:
                partial.write_bytes(self._settings.line())
            if finished:
                self._path.unlink()
                flush_folder(self._path.parent)
        return self.index.outcomes(only_seen=finished)

    def _write(self, text: bytes) -> tuple[int, OSError | None]:
        """How many bytes were written, and what kept it from the rest."""
        written = 0
        try:
            while written < len(text):
                written += os.pwrite(self._file.fileno(), text[written:], self._end + written)
            if time.monotonic() - self._flushed_s > FLUSH_EVERY_S:
                os.fdatasync(self._file.fileno())
                self._flushed_s = time.monotonic()
        except OSError as error:
            return written, error
        return written, None

    def _lines(self) -> Iterator[_Line]:
        """Whole ones."""
        place = 0
        with self._path.open("rb") as file:
            for number, text in enumerate(file, 1):
                if text.endswith(b"\n"):
                    yield _Line(number, place, text)
                place += len(text)

    def _taken_up(self, lines: Iterable[_Line]) -> Iterator[PlacedRow]:
        for line in lines:
            yield PlacedRow(self._parse(line), line.place)
            self._end = line.place + len(line.text)

    def _newest_lines(self, *, only_seen: bool) -> Iterator[_Line]:
        places = self.index.places(only_seen=only_seen)
        wanted = next(places, None)
        for line in self._lines():
            if line.place == wanted:
                yield line
                wanted = next(places, None)

    def _parse(self, line: _Line) -> Row:
        try:
            return Row.model_validate_json(line.text)
        except ValidationError as error:
            raise ConfigError(
                f"{self._path}: line {line.number} is damaged: remove that line (its input is scored again), "
                "or give --overwrite"
            ) from error


def journal_path(out: Path) -> Path:
    """Where the journal of a result is."""
    return out.with_name(f"{out.name}.journal")


@contextmanager
def open_journal(out: Path, settings: Mapping[str, JsonValue], *, resume: bool, overwrite: bool) -> Iterator[Journal]:
    """Begin a journal, or go on with one; one process at a time.

    Args:
        out: the result.
        settings: what decides scores.
        resume: go on with the journal that is there, or else with the result that is there.
        overwrite: do without both; the result itself is replaced only at the end.

    Raises:
        ConfigError: something is there and neither was asked for; or it was made with other settings, or
            is damaged; or another process writes to it.
    """
    path, run_settings = journal_path(out), RunSettings(settings=dict(settings))
    file = _lock(path)
    try:
        if overwrite or _is_blank(path):
            check_output(out, may_exist=overwrite or resume)
            _begin(path, run_settings, _finished_rows(out, run_settings) if resume else ())
            file.close()
            file = _lock(path)
        elif not resume:
            raise ConfigError(f"{path} is of a run that was not finished: --resume goes on, --overwrite begins anew")
        journal = Journal(out, file, run_settings)
        with journal.index:
            journal.load()
            yield journal
    finally:
        if _is_same(file, path) and _is_blank(path):
            path.unlink()
        file.close()


def _lock(path: Path) -> IO[bytes]:
    """Open it, and keep others from it until it is closed."""
    while True:
        with _plain_errors(path):
            file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666), "r+b", buffering=0)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.close()
            raise ConfigError(f"{path} is in use by another run: wait for it, or name another --out") from error
        if _is_same(file, path):
            return file
        file.close()  # its owner replaced or removed it in between


def _is_same(file: IO[bytes], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _is_blank(path: Path) -> bool:
    """Whether it holds nothing, or nothing but settings."""
    with path.open("rb") as file:
        first = file.readline()
        return not first or (first.startswith(b'{"journal":') and not file.read(1))


def _begin(path: Path, settings: RunSettings, rows: Iterable[Row]) -> None:
    with _plain_errors(path), replacing(path) as partial, partial.open("wb") as file:
        file.write(settings.line())
        file.writelines(_as_line(row) for row in rows)


def _finished_rows(out: Path, settings: RunSettings) -> Iterator[Row]:
    """Of a result that has no journal any more."""
    if not out.exists():
        return iter(())
    path = settings_path(out)
    if not path.exists():
        raise ConfigError(
            f"{out} cannot be added to: {path.name}, which says how it was scored, is not beside it; "
            "name another --out, or score all again with --overwrite"
        )
    settings.check_same(path.read_bytes(), path)
    return read_rows(out)


def _as_line(row: Row) -> bytes:
    return row.model_dump_json().encode() + b"\n"


@contextmanager
def _plain_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror or error}") from error
