from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from client.readers import read_rows
from client.rows import Face, Row, RowError, printable_path, real_path
from client.schema import COLUMNS, PARQUET
from client.writers import check_output, open_writer
from lnclip.errors import ConfigError

LANDMARKS = ((1.5, 2.0), (3.0, 2.0), (2.0, 3.0), (1.0, 4.0), (3.0, 4.0))
FACE = Face(box=(1.0, 2.0, 30.5, 40.25), landmarks=LANDMARKS, score=0.99, p_fake=0.75, flags=("small",))
FILE = {"size_bytes": 10, "mtime_ns": 1_700_000_000_000_000_001, "sha256": "ab" * 32, "elapsed_ms": 1.5}
OK = Row(
    path='a "quoted",\nname.jpg', **FILE, status="ok", verdict="fake", p_fake=0.75, num_faces=1, faces=(FACE,),
    width=640, height=480, warnings=("cmyk",), error=None, model={"name": "demo", "spec": {"crop_px": None}},
)  # fmt: skip
NO_FACE = OK.model_copy(update={"status": "no_face", "verdict": "no_face", "p_fake": None, "num_faces": 0, "faces": ()})
ERROR = Row(
    path="g%FFne.jpg", size_bytes=None, mtime_ns=None, sha256=None, status="error", verdict=None, p_fake=None,
    num_faces=None, width=None, height=None, error=RowError(code="not_found", message="gone"), model=None, elapsed_ms=0,
)  # fmt: skip
ROWS = [OK, NO_FACE, ERROR]

# DESIGN section 5, in its order.
DESIGNED = [
    "schema",
    "path",
    "size_bytes",
    "mtime_ns",
    "sha256",
    "kind",
    "status",
    "verdict",
    "p_fake",
    "num_faces",
    "faces",
    "frames",
    "tracks",
    "segment",
    "width",
    "height",
    "warnings",
    "error",
    "model",
    "elapsed_ms",
    "columns",
]


@pytest.mark.parametrize("ending", [".jsonl", ".csv", ".parquet"])
def test_every_format_gives_the_rows_back(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"rows{ending}"
    with open_writer(path) as writer:
        writer.write(ROWS[:2])
        writer.write(ROWS[2:])
    assert list(read_rows(path)) == ROWS
    assert list(read_rows(str(path))) == ROWS
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_every_row_has_every_column(tmp_path: Path) -> None:
    assert list(COLUMNS) == PARQUET.names == DESIGNED
    for row in ROWS:
        assert list(json.loads(row.model_dump_json())) == DESIGNED


def test_csv_holds_json_in_its_cells_and_nothing_for_null(tmp_path: Path) -> None:
    with open_writer(tmp_path / "rows.csv") as writer:
        writer.write(ROWS)
    with (tmp_path / "rows.csv").open(newline="") as file:
        ok, no_face, error = csv.DictReader(file)
    assert json.loads(ok["faces"])[0]["box"] == [1.0, 2.0, 30.5, 40.25]
    assert (no_face["p_fake"], no_face["verdict"], no_face["num_faces"]) == ("", "no_face", "0")
    assert json.loads(error["error"]) == {"code": "not_found", "message": "gone"}


def test_parquet_without_rows_has_its_columns_still(tmp_path: Path) -> None:
    with open_writer(tmp_path / "rows.parquet"):
        pass
    assert pq.read_table(tmp_path / "rows.parquet").schema.names == DESIGNED


@pytest.mark.parametrize("ending", [".jsonl", ".csv", ".parquet"])
def test_a_file_is_there_only_when_it_is_whole(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"rows{ending}"
    path.write_text("old")

    def interrupted() -> None:
        with open_writer(path) as writer:
            writer.write(ROWS)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_text() == "old"


def test_csv_lines_end_as_unix_lines_do_and_keep_a_carriage_return(tmp_path: Path) -> None:
    odd = OK.model_copy(update={"path": "old\rmac\r\nname.jpg"})
    with open_writer(tmp_path / "rows.csv") as writer:
        writer.write([odd, NO_FACE])
    header, _ = (tmp_path / "rows.csv").read_bytes().split(b"\n", 1)
    assert header.endswith(b"columns")
    assert list(read_rows(tmp_path / "rows.csv")) == [odd, NO_FACE]


def test_nan_is_no_probability() -> None:
    with pytest.raises(ValidationError):
        Face(box=None, landmarks=None, score=None, p_fake=float("nan"))


@pytest.mark.parametrize(
    ("raw", "printed"),
    [
        (b"plain.jpg", "plain.jpg"),
        (b"100%.jpg", "100%25.jpg"),
        (b"\xe9.jpg", "%E9.jpg"),
        ("café.jpg".encode(), "café.jpg"),
        ("half\ud800.jpg", "half\\ud800.jpg"),
        (b"\xed\xa0\x80", "%ED%A0%80"),
    ],
)
def test_only_bytes_that_are_not_utf8_are_percent_encoded(raw: bytes | str, printed: str) -> None:
    assert printable_path(raw) == printed


@given(st.binary())
def test_a_printed_path_leads_back_to_the_file(raw: bytes) -> None:
    printed = printable_path(raw)
    printed.encode()
    assert os.fsencode(real_path(printed)) == raw


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("rows.txt", "ending"),
        ("missing/rows.csv", "No such file"),
        ("there.csv", "--overwrite"),
        ("folder.csv", "folder"),
    ],
)
def test_a_result_that_cannot_be_written_is_refused_at_once(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "there.csv").touch()
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(ConfigError, match=message):
        check_output(tmp_path / name, may_exist=False)


def test_a_damaged_result_file_is_named_with_its_row(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(OK.model_dump_json() + '\n{"torn": ')
    with pytest.raises(ConfigError, match=r"rows.jsonl: row 2 is not"):
        list(read_rows(path))
