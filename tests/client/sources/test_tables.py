from __future__ import annotations

import datetime
import json
import math
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from client.answers import error_row
from client.reading import FileFacts
from client.rows import RowError, printable_path
from client.sources.finding import Found, check_sources, find
from client.writers import open_writer
from lnclip.errors import ConfigError


def rows_of(name: str, content: bytes | pa.Table, folder: Path, path_column: str = "path") -> list[Found]:
    table = folder / name
    if isinstance(content, bytes):
        table.write_bytes(content)
    else:
        pq.write_table(content, table)
    return list(find([table], path_column=path_column))


def test_other_columns_are_carried_along(tmp_path: Path) -> None:
    content = b'path,label,status\na.png,real,mine\n"b, c.png",,"two\nlines"\n\n/x/d.mp4,fake,\n'
    assert rows_of("t.csv", content, tmp_path) == [
        Found(f"{tmp_path}/a.png", "input", {"label": "real", "status": "mine"}),
        Found(f"{tmp_path}/b, c.png", "input", {"label": "", "status": "two\nlines"}),
        Found("/x/d.mp4", "input", {"label": "fake", "status": ""}),
    ]


def test_paths_are_relative_to_the_table_and_to_the_letter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path)
    content = b"file\n*.png\nsub\n a.png\ns3://bucket/b.png\nfile:///x/c.png\n"
    finds = rows_of("sub/t.csv", content, Path(), "file")
    assert [one.path for one in finds] == ["sub/*.png", "sub/sub", "sub/ a.png", "s3://bucket/b.png", "/x/c.png"]


def test_parquet_values_are_json_values(tmp_path: Path) -> None:
    noon = datetime.datetime(2026, 1, 2, 12, 0, tzinfo=datetime.UTC)
    columns = {
        "path": pa.array(["a.png"]).dictionary_encode(),
        "number": pa.array([7]),
        "share": pa.array([0.25]),
        "nothing": pa.array([math.nan]),
        "endless": pa.array([math.inf]),
        "time": pa.array([1_767_355_200_000_000_001], pa.timestamp("ns", "UTC")),
        "day": pa.array([noon.date()]),
        "price": pa.array(["1.50"]).cast(pa.decimal128(5, 2)),
        "tags": pa.array([["x", None]]),
        "nested": pa.array([{"time": noon, "flag": True}]),
        "wait": pa.array([datetime.timedelta(seconds=90)]),
        "picture": pa.array([b"\x89PNG"]),
    }
    [one] = rows_of("t.parquet", pa.table(columns), tmp_path)
    assert one == Found(
        f"{tmp_path}/a.png",
        "input",
        {
            "number": 7,
            "share": 0.25,
            "nothing": None,
            "endless": "inf",
            "time": "2026-01-02 12:00:00.000000001Z",
            "day": "2026-01-02",
            "price": "1.50",
            "tags": ["x", None],
            "nested": {"time": "2026-01-02 12:00:00+00:00", "flag": True},
            "wait": "0:01:30",
        },
    )
    json.dumps(one.columns, allow_nan=False)


def test_paths_in_parquet_may_be_bytes(tmp_path: Path) -> None:
    [one] = rows_of("t.parquet", pa.table({"path": pa.array([b"pat\xe9.png"])}), tmp_path)
    assert os.fsencode(one.path) == os.fsencode(tmp_path) + b"/pat\xe9.png"


def problems(finds: list[Found]) -> list[str | None]:
    return [one.error and one.error.message.partition(": ")[2] for one in finds]


def test_a_bad_row_of_a_csv_is_an_error_and_its_neighbours_stand(tmp_path: Path) -> None:
    content = (
        b"path,label\na.png,real\n,fake\n  ,fake\nb.png\nc.png,real,more\nd.png,pat\xe9\ne\0.png,real\n"
        b'f.png,"x"y\npat\xe9.png,real\ng.png,"not closed\nh.png,real\n'
    )
    finds = rows_of("t.csv", content, tmp_path)
    assert [Path(one.path).name for one in finds] == [
        *("a.png", "t.csv#row=2", "t.csv#row=3", "b.png", "c.png", "d.png", "t.csv#row=7", "t.csv#row=8"),
        *("pat\udce9.png", "t.csv#row=10"),
    ]
    assert problems(finds) == [
        None,
        "it has no path",
        "it has no path",
        "line 5 has 1 cells, the header 2",
        "line 6 has 3 cells, the header 2",
        "label has a NUL or bytes that are not UTF-8; save the table as UTF-8",
        "its path has a NUL",
        "lines 9 to 9 are no CSV (',' expected after '\"'); is a quote not closed?",
        None,
        "lines 11 to 12 are no CSV (unexpected end of data); is a quote not closed?",
    ]
    assert {one.error.code for one in finds if one.error} == {"bad_row"}
    assert finds[5].columns == {"label": r"pat\xe9"}
    assert finds[6].columns == {"path": r"e\x00.png", "label": "real"}
    for one in finds:
        json.dumps(one.columns, ensure_ascii=False).encode()


def test_a_quote_that_is_not_closed_does_not_swallow_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("client.sources.textual.LONGEST_CELL", 1000)
    content = b'path,label\na.png,"real\n' + b"".join(b"%d.png,fake\n" % number for number in range(500))
    finds = rows_of("t.csv", content, tmp_path)
    assert finds[0].error.message.startswith(f"{tmp_path}/t.csv#row=1: lines 2 to 86 are no CSV")
    assert len(finds) > 400
    assert finds[-1] == Found(f"{tmp_path}/499.png", "input", {"label": "fake"})


def test_a_bad_row_of_parquet_is_an_error_and_its_neighbours_stand(tmp_path: Path) -> None:
    broken = pa.Array.from_buffers(pa.string(), 4, pa.array([b"x", b"pat\xe9", b"y", b"z"]).buffers())
    finds = rows_of("t.parquet", pa.table({"path": ["a.png", "b.png", None, ""], "label": broken}), tmp_path)
    assert [Path(one.path).name for one in finds] == ["a.png", "b.png", "t.parquet#row=3", "t.parquet#row=4"]
    assert [one.error and one.error.code for one in finds] == [None, "bad_row", "bad_row", "bad_row"]
    [one] = rows_of("n.parquet", pa.table({"path": [5]}), tmp_path)
    assert problems([one]) == ["its path is 5, not text"]


def test_json_lines_are_a_table_too(tmp_path: Path) -> None:
    content = b'{"path": "a.png", "box": [1, NaN]}\n\n[1]\n{"path": "b.png"\n{"label": 1}\n{"path": "\\ud800"}\n'
    finds = rows_of("t.jsonl", content, tmp_path)
    assert finds[0] == Found(f"{tmp_path}/a.png", "input", {"box": [1, None]})
    assert [problem.partition(" (")[0] for problem in problems(finds)[1:4]] == [
        *("JSON, but not an object", "no JSON", "it has no path")
    ]
    assert "surrogates" in finds[4].error.message


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("t.csv", b"file,label\n", r"has no column 'path'; it has 'file', 'label'.*--path-column"),
        ("t.csv", b"path;label\n", r"it has 'path;label'.*separated by commas"),
        ("t.csv", b"path,label,label\n", "more than one column 'label'"),
        ("t.csv", b"", "it is empty"),
        ("t.csv", "path\na.png\n".encode("utf-16"), "UTF-16"),
        ("t.parquet", b"PAR1 is not enough", "cannot be read as a table"),
        ("t.jsonl", b"path\n", "its first line is no JSON object"),
        ("gone.csv", None, "cannot be read: No such file"),
    ],
)
def test_a_table_that_cannot_be_read_is_told_before_any_work(
    name: str, content: bytes | None, reason: str, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match=rf"{name}.*{reason}"):
        check_sources([tmp_path / name])
    with pytest.raises(ConfigError, match=reason):
        list(find([tmp_path / name]))


def test_a_byte_order_mark_and_windows_lines_are_no_part_of_a_table(tmp_path: Path) -> None:
    [one] = rows_of("T.CSV", b"\xef\xbb\xbfpath,label\r\na.png,real\r\n", tmp_path)
    assert one == Found(f"{tmp_path}/a.png", "input", {"label": "real"})


@pytest.mark.parametrize("ending", ["csv", "parquet", "jsonl"])
def test_a_result_file_names_its_inputs_again(ending: str, tmp_path: Path) -> None:
    """As they were given: not relative to the result's folder, and without the scores."""
    inputs = [Found("100%.png", "input", {"label": "real", "p_fake": 3}), Found("dir/pat\udce9.png", "input")]
    trouble = RowError(code="not_found", message="gone")
    with open_writer(tmp_path / f"rows.{ending}") as writer:
        writer.write(
            [error_row(FileFacts(printable_path(one.path), columns=dict(one.columns)), trouble, 1.0) for one in inputs]
        )
    assert list(find([tmp_path / f"rows.{ending}"])) == inputs
