"""A result file back into rows, whichever format it has."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import JsonValue, ValidationError

from client.rows import Row
from client.schema import from_csv, from_parquet
from lnclip.errors import ConfigError

_LONGEST_CELL = 1 << 30
"""Characters; csv's own limit is too low for a video's frames."""


def read_rows(result: str | os.PathLike[str]) -> Iterator[Row]:
    """The rows of a file (with --ray: a folder of parts) that ``client score`` wrote, one at a time.

    Raises:
        ConfigError: it is not there, or not such a file; the message names the row.
    """
    path = Path(result)
    readers = {".jsonl": _jsonl, ".csv": _csv, ".parquet": _parquet}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise ConfigError(f"{path} is not a result file: its ending must be one of {', '.join(readers)}")
    number = 0
    try:
        for number, row in enumerate(map(Row.model_validate, reader(path)), 1):  # noqa: B007 - the last good row's
            yield row
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror or error}") from error
    except (ValidationError, ValueError, KeyError, csv.Error, pa.ArrowException) as error:
        raise ConfigError(f"{path}: row {number + 1} is not a result row: {error}") from error


def _jsonl(path: Path) -> Iterator[dict[str, JsonValue]]:
    with path.open(encoding="utf-8") as file:
        yield from (json.loads(line) for line in file)


def _csv(path: Path) -> Iterator[dict[str, JsonValue]]:
    csv.field_size_limit(_LONGEST_CELL)
    with path.open(encoding="utf-8", newline="") as file:
        yield from map(from_csv, csv.DictReader(file))


def _parquet(path: Path) -> Iterator[dict[str, JsonValue]]:
    for part in sorted(path.glob("part-*.parquet")) if path.is_dir() else [path]:
        with pq.ParquetFile(part) as file:
            for batch in file.iter_batches(batch_size=1000):
                yield from map(from_parquet, batch.to_pylist())
