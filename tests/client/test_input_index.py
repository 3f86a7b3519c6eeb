"""Which inputs are to be scored, given what earlier runs wrote of them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import fsspec
import pytest

from client.answers import error_row
from client.input_index import InputIndex, PlacedRow, input_id
from client.pipeline import Standing
from client.reading import read_input
from client.rows import Row, RowError
from client.sources.finding import Found
from tests.client.rows_of_files import failed, scored


def recalled(before: Iterable[Row], *inputs: Found) -> list[Standing]:
    """In a run that follows one with such rows."""
    with InputIndex() as index:
        index.add(map(PlacedRow, before, range(10)), seen=False)
        return index.recall(inputs)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "0.jpg").write_text("picture")
    return tmp_path / "0.jpg"


@pytest.mark.parametrize(
    ("code", "standing"),
    [
        ("truncated", "kept"),
        ("not_an_image", "kept"),
        ("too_many_bytes", "kept"),
        ("unavailable", "new"),
        ("deadline_exceeded", "new"),
        ("model_changed", "new"),
        ("read_failed", "new"),
        ("not_found", "new"),  # of a model: the file is there
    ],
)
def test_errors_of_the_file_are_final_and_those_of_the_server_are_not(file: Path, code: str, standing: str) -> None:
    assert recalled([failed(file, code)], Found(str(file), "input")) == [standing]


def test_a_file_that_changed_is_scored_again(file: Path) -> None:
    row = scored(file)
    assert recalled([row], Found(str(file), "input")) == ["kept"]
    os.utime(file, ns=(1, row.mtime_ns + 1))
    assert recalled([row], Found(str(file), "input")) == ["new"]


def test_a_missing_file_is_kept_as_missing_until_it_is_there(file: Path) -> None:
    row = failed(file, "not_found").model_copy(update={"size_bytes": None, "mtime_ns": None})
    file.unlink()
    assert recalled([row], Found(str(file), "input")) == ["kept"]
    file.write_text("here again")
    assert recalled([row], Found(str(file), "input")) == ["new"]


def test_an_object_of_a_store_is_asked_for_its_size_and_time() -> None:
    urls = [f"memory://bucket/{index}.jpg" for index in range(3)]
    store = fsspec.filesystem("memory")
    for url in urls:
        store.pipe(url, b"picture")
    rows = [error_row(read_input(Found(url, "input")).facts, RowError(code="damaged", message=""), 0) for url in urls]
    store.pipe(urls[1], b"other picture")
    assert recalled(rows, *(Found(url, "input") for url in urls)) == ["kept", "new", "kept"]


def test_one_file_with_other_columns_is_another_input(file: Path) -> None:
    inputs = [Found(str(file), "input", {"label": label, "id": 1}) for label in ("real", "fake", "real")]
    assert recalled([], *inputs) == ["new", "new", "duplicate"]
    row = scored(file).model_copy(update={"columns": {"id": 1, "label": "fake"}})
    assert recalled([row], *inputs) == ["new", "kept", "duplicate"]


def test_names_and_columns_do_not_run_into_each_other() -> None:
    inputs = [("a", {}), ("a", {"b": "c"}), ("a", {"b": None}), ('a\0{"b": "c"}', {}), ("b", {})]
    assert len({input_id(path, columns) for path, columns in inputs}) == len(inputs)


def test_the_newest_row_of_an_input_counts(file: Path) -> None:
    row = scored(file)
    rows = [row.model_copy(update={"path": f"{number}"}) for number in range(3000)]
    with InputIndex() as index:
        index.add(map(PlacedRow, rows, range(3000)), seen=False)
        index.add(map(PlacedRow, rows[::2], range(5000, 6500)), seen=True)
        assert list(index.places(only_seen=True)) == list(range(5000, 6500))
        assert list(index.places(only_seen=False)) == [*range(1, 3000, 2), *range(5000, 6500)]
        assert index.outcomes(only_seen=False) == {"ok": 3000}
        assert index.outcomes(only_seen=True) == {"ok": 1500}
