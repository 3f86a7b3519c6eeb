"""Tables: one file or URL per row, in the column ``path`` (or another that is named), the others carried along.

* CSV (UTF-8, commas, a header), Parquet, and JSON Lines. In CSV every value is text; a value of Parquet
  that JSON does not know (a time, a decimal) becomes text, and columns of bytes stay behind.
* Paths are relative to the table's own folder, to the letter, and nothing in them is a pattern.
* A row that cannot be right (no path, too many cells, bytes that are not UTF-8 outside the path) is an
  input with an error, called ``TABLE#row=N`` where it has no path; the rows around it stand.
* A result file of ``client score`` names its inputs as they were given then: its paths are unescaped and
  relative to the working directory, and what is carried along is what was then, not the scores.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import PurePath

import pyarrow as pa

from client.rows import RowError, real_path
from client.schema import COLUMNS
from client.sources.columnar import open_parquet
from client.sources.found import Found
from client.sources.opening import open_source
from client.sources.record import Cells, Record, Records, clean, is_clean
from client.sources.stores import as_local, is_url, name_of
from client.sources.textual import open_csv, open_json_lines
from lnclip.errors import ConfigError

TABLE_ENDINGS = (".csv", ".parquet", ".jsonl")

_OF_RESULTS = frozenset(("schema", "path", "sha256", "status", "verdict", "columns"))
"""Columns by which a result file is known."""

Settle = Callable[[Cells], tuple[str, Cells]]
"""From a row's cells to its path and what is carried along; a ValueError says why not."""


def read_table(path: str, path_column: str) -> Iterator[Found]:
    """An input for each row, in the order of the table.

    Raises:
        ConfigError: it cannot be read, or has no such column.
    """
    with _opened(path, path_column) as table:
        _check_columns(path, table.columns, path_column)
        is_result = path_column == "path" and {*table.columns} >= _OF_RESULTS
        settle = _settle_result if is_result else partial(_settle, path, path_column)
        for number, record in enumerate(table.rows, 1):
            yield _found(record, settle, f"{path}#row={number}")


def check_table(path: str, path_column: str) -> None:
    """See whether it can be read and has that column.

    Raises:
        ConfigError: it cannot, or has not.
    """
    with _opened(path, path_column) as table:
        _check_columns(path, table.columns, path_column)


@contextmanager
def _opened(path: str, path_column: str) -> Iterator[Records]:
    ending = PurePath(name_of(path)).suffix.lower()
    try:
        with open_source(path, anywhere=ending == ".parquet") as file:
            if ending == ".parquet":
                yield open_parquet(file, path_column)
            else:
                yield open_csv(file) if ending == ".csv" else open_json_lines(file)
    except (ValueError, pa.ArrowException) as error:
        raise ConfigError(f"{path} cannot be read as a table: {error}") from error


def _check_columns(path: str, columns: Sequence[str], path_column: str) -> None:
    twice = [name for name, number in Counter(columns).items() if number > 1]
    if twice:
        raise ConfigError(f"{path} has more than one column {twice[0]!r}; give each a name of its own")
    if path_column not in columns:
        raise ConfigError(
            f"{path} has no column {path_column!r}; it has {', '.join(map(repr, columns))}. "
            "Name the one that holds the paths with --path-column (cells of a CSV are separated by commas)"
        )


def _found(record: Record, settle: Settle, place: str) -> Found:
    """``place`` says where the row is, and is its path when it has none."""
    path, columns, problem = place, record.cells, record.problem
    try:
        path, columns = settle(columns)
    except ValueError as error:
        problem = problem or str(error)
    broken = [name for name, value in columns.items() if not (is_clean(name) and is_clean(value))]
    if broken and problem is None:
        problem = f"{clean(broken[0])} has a NUL or bytes that are not UTF-8; save the table as UTF-8"
    if problem is None:
        return Found(path, "input", columns)
    written = {str(clean(name)): clean(value) for name, value in columns.items()}
    return Found(path, "input", written, RowError(code="bad_row", message=f"{place}: {problem}"))


def _settle(table: str, path_column: str, cells: Cells) -> tuple[str, Cells]:
    given = _text_of(cells, path_column)
    others = {name: value for name, value in cells.items() if name != path_column}
    if is_url(given):
        return as_local(given), others
    if is_url(table) and not given.startswith("/"):
        head, chain, rest = table.partition("::")
        return f"{head.rpartition('/')[0]}/{given}{chain}{rest}", others
    return os.path.join(os.path.dirname(table), given), others  # noqa: PTH118, PTH120 - a Path per row is slow


def _settle_result(cells: Cells) -> tuple[str, Cells]:
    carried = cells.get("columns")
    if isinstance(carried, str):  # CSV and Parquet hold it as JSON
        carried = json.loads(carried) if carried else {}
    if not isinstance(carried, dict):
        raise ValueError(f"its columns are {carried!r}, not a JSON object")  # noqa: TRY004 - _found catches it
    added = {name: value for name, value in cells.items() if name not in COLUMNS}
    return real_path(_text_of(cells, "path")), carried | added


def _text_of(cells: Cells, path_column: str) -> str:
    given = cells.get(path_column)
    if given is None or (isinstance(given, str) and not given.strip()):
        raise ValueError("it has no path")
    if not isinstance(given, str):
        raise ValueError(f"its path is {given!r}, not text")  # noqa: TRY004
    if "\0" in given:
        raise ValueError("its path has a NUL")
    os.fsencode(given)  # a UnicodeEncodeError says what is wrong
    return given
