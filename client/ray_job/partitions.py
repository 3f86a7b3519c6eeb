"""Which inputs are still to be scored, cut into partitions: a part of the result each.

All inputs are found before the first is scored, for only then is it known which rows of an earlier run
stay: those of inputs that came up again, that did not change, and whose row is no error of the server's.
The others are taken out of their parts, so at any moment an input has one row at most.
"""

from __future__ import annotations

import itertools
import json
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Self

import pyarrow as pa
import pyarrow.parquet as pq

from client.input_index import InputIndex, PlacedRow, input_id
from client.pipeline import FoundCount
from client.ray_job.result_folder import RunFolder
from client.readers import read_rows
from client.replacing import replacing
from client.rows import RowError, printable_path
from client.sources.finding import Found
from lnclip.errors import ConfigError

LARGEST = 1000
"""Inputs. What a killed worker or run had in hand is scored again, so no more; and fewer, larger files are
better to read, so no less."""

PER_WORKER = 4
"""At least so many, as far as there are inputs: workers that end early take what others would have done."""

LOOK_AHEAD = 512


def make_partitions(
    finds: Iterator[Found], folder: RunFolder, *, workers: int, count: FoundCount, tell: Callable[[], None]
) -> list[int]:
    """Find everything, take the rows that do not stay out of the parts, write manifests for new parts.

    Args:
        finds: what to score; taken to its end.
        folder: of the run.
        workers: that will share the partitions.
        count: grows on the way.
        tell: called when it has grown.

    Returns:
        The numbers of the parts that are to be made.

    Raises:
        ConfigError: a part cannot be read, or nothing can be written.
    """
    try:
        with _Asked() as asked:
            with InputIndex() as index:
                for part in folder.parts():
                    index.add((PlacedRow(row, 0) for row in read_rows(part)), seen=False)
                while batch := list(itertools.islice(finds, LOOK_AHEAD)):
                    asked.sort(batch, index, count)
                    tell()
            count.finished = True
            first = folder.first_free()
            for part in folder.parts():
                _cut_down(part, asked)
            return _write_manifests(folder, asked, first, workers)
    except OSError as error:
        raise ConfigError(f"{folder.out} cannot be written: {error.strerror or error}") from error
    except sqlite3.OperationalError as error:
        raise ConfigError(f"the temporary list of inputs cannot be written ({error}): see TMPDIR") from error


def read_manifest(path: Path) -> list[Found]:
    """The inputs of a partition.

    Raises:
        OSError: it cannot be read.
    """
    with path.open(encoding="ascii") as file:
        return [
            Found(path, "input", columns, RowError.model_validate(error) if error else None)
            for path, columns, error in map(json.loads, file)
        ]


class _Asked:
    """The inputs of this run, each once, on disk; those to be scored in the order in which they were found."""

    def __enter__(self) -> Self:
        with ExitStack() as undo:
            self._database = sqlite3.connect("", isolation_level=None)  # "": a private temporary file
            undo.callback(self._database.close)
            self._database.execute("PRAGMA journal_mode = OFF")
            self._database.execute("CREATE TABLE asked (id BLOB PRIMARY KEY, line TEXT)")
            self._undo = undo.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._undo.close()

    def sort(self, batch: Sequence[Found], index: InputIndex, count: FoundCount) -> None:
        """Take up what was found; ``index`` knows the rows that are there."""
        inputs = [found for found in batch if found.what == "input"]
        standings = index.recall(inputs)
        new = [found for found, standing in zip(inputs, standings, strict=True) if standing == "new"]
        kept = [found for found, standing in zip(inputs, standings, strict=True) if standing == "kept"]
        self._database.execute("BEGIN")
        self._database.executemany("INSERT INTO asked VALUES (?, ?)", [(_id(found), _as_line(found)) for found in new])
        self._database.executemany("INSERT INTO asked VALUES (?, NULL)", [(_id(found),) for found in kept])
        self._database.execute("COMMIT")
        count.inputs += len(new) + len(kept)
        count.kept += len(kept)
        skipped = sum(found.what == "skipped" for found in batch)
        count.skipped += skipped
        count.duplicates += len(batch) - skipped - len(new) - len(kept)

    def is_kept(self, key: bytes) -> bool:
        """Whether this input's row stays."""
        query = "SELECT 1 FROM asked WHERE id = ? AND line IS NULL"
        return self._database.execute(query, (key,)).fetchone() is not None

    def new(self) -> tuple[int, Iterator[str]]:
        """How many are to be scored, and their lines of a manifest."""
        [number] = self._database.execute("SELECT count(line) FROM asked").fetchone()
        lines = self._database.execute("SELECT line FROM asked WHERE line IS NOT NULL ORDER BY rowid")
        return number, (line for (line,) in lines)


def _cut_down(part: Path, asked: _Asked) -> None:
    """Take out the rows that do not stay."""
    with pq.ParquetFile(part) as file:
        names = file.read(["path", "columns"]).to_pylist()
        stays = [asked.is_kept(input_id(row["path"], json.loads(row["columns"]))) for row in names]
        if all(stays):
            return
        if any(stays):
            with replacing(part) as partial:
                pq.write_table(file.read().filter(pa.array(stays)), partial, compression="zstd")
            return
    part.unlink()


def _write_manifests(folder: RunFolder, asked: _Asked, first: int, workers: int) -> list[int]:
    number, lines = asked.new()
    size = min(LARGEST, max(1, -(-number // (PER_WORKER * workers))))
    numbers = list(range(first, first + -(-number // size)))
    for part in numbers:
        with folder.manifest(part).open("w", encoding="ascii", newline="\n") as file:
            file.writelines(itertools.islice(lines, size))
    return numbers


def _id(found: Found) -> bytes:
    return input_id(printable_path(found.path), found.columns)


def _as_line(found: Found) -> str:
    """ASCII: a name's bytes that are not UTF-8 are escapes."""
    error = found.error.model_dump() if found.error else None
    return json.dumps([found.path, dict(found.columns), error]) + "\n"
