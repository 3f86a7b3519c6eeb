"""The columns of a result file, for CSV and Parquet; ``rows.Row`` is the statement they follow."""

from __future__ import annotations

import json

import pyarrow as pa
from pydantic import JsonValue

from client.rows import Row

COLUMNS = tuple(info.serialization_alias or info.alias or name for name, info in Row.model_fields.items())

JSON_TEXT = ("model", "columns")
"""JSON in Parquet too: their fields are the server's and the user's to choose."""

_FACE = pa.struct(
    [
        ("box", pa.list_(pa.float64())),
        ("landmarks", pa.list_(pa.list_(pa.float64()))),
        ("score", pa.float64()),
        ("p_fake", pa.float64()),
        ("flags", pa.list_(pa.string())),
    ]
)
_FRAME = pa.struct(
    [("index", pa.int64()), ("time_s", pa.float64()), ("p_fake", pa.float64()), ("faces", pa.list_(_FACE))]
)
_TRACK = pa.struct([("id", pa.int64()), ("frames", pa.list_(pa.int64())), ("p_fake", pa.float64())])
_SEGMENT = pa.struct([("start_s", pa.float64()), ("end_s", pa.float64()), ("p_fake", pa.float64())])

PARQUET = pa.schema(
    [
        ("schema", pa.int32()),
        ("path", pa.string()),
        ("size_bytes", pa.int64()),
        ("mtime_ns", pa.int64()),
        ("sha256", pa.string()),
        ("kind", pa.string()),
        ("status", pa.string()),
        ("verdict", pa.string()),
        ("p_fake", pa.float64()),
        ("num_faces", pa.int32()),
        ("faces", pa.list_(_FACE)),
        ("frames", pa.list_(_FRAME)),
        ("tracks", pa.list_(_TRACK)),
        ("segment", _SEGMENT),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("warnings", pa.list_(pa.string())),
        ("error", pa.struct([("code", pa.string()), ("message", pa.string())])),
        ("model", pa.string()),
        ("elapsed_ms", pa.float64()),
        ("columns", pa.string()),
    ]
)


def parquet_cells(row: Row) -> dict[str, JsonValue]:
    """A row as Parquet holds it."""
    cells = row.model_dump(mode="json")
    for name in JSON_TEXT:
        if cells[name] is not None:
            cells[name] = json.dumps(cells[name], ensure_ascii=False)
    return cells


def csv_cells(row: Row) -> list[str | int | float | None]:
    """A row as CSV holds it: nothing for null, JSON for what is nested."""
    return [
        json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else value
        for value in row.model_dump(mode="json").values()
    ]


def from_csv(cells: dict[str, str]) -> dict[str, JsonValue]:
    """Back to what ``Row`` reads."""
    row: dict[str, JsonValue] = {name: cell or None for name, cell in cells.items()}
    for name in ("schema", "faces", "frames", "tracks", "segment", "warnings", "error", *JSON_TEXT):
        if cells.get(name):
            row[name] = json.loads(cells[name])
    row["path"] = cells["path"]
    return row


def from_parquet(cells: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """Back to what ``Row`` reads."""
    texts = {name: cells[name] for name in JSON_TEXT}
    return cells | {name: json.loads(text) if isinstance(text, str) else None for name, text in texts.items()}
