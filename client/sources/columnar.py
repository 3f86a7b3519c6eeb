"""Rows of a Parquet file, a few hundred at a time."""

from __future__ import annotations

import io
import logging
import os
from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import JsonValue

from client.sources.record import Record, Records, as_json

log = logging.getLogger(__name__)

BATCH_ROWS = 512
READ_BYTES = 1 << 20
"""Of a column at once; by default all of a row group's part of it is read."""


def open_parquet(file: io.BufferedReader, path_column: str) -> Records:
    """All columns but those of bytes, which no result row can carry (pictures, mostly); paths may be bytes."""
    table = pq.ParquetFile(file, buffer_size=READ_BYTES, pre_buffer=False)
    schema = table.schema_arrow
    wanted = [field.name for field in schema if field.name == path_column or not _holds_bytes(field.type)]
    if len(wanted) < len(schema.names):
        log.warning("columns of bytes are not carried along: %s", ", ".join({*schema.names} - {*wanted}))
    return Records(schema.names, _rows(table, wanted))


def _rows(table: pq.ParquetFile, columns: Sequence[str]) -> Iterator[Record]:
    for batch in table.iter_batches(batch_size=BATCH_ROWS, columns=list(columns)):
        names = batch.schema.names
        for values in zip(*(_values(column) for column in batch.columns), strict=True):
            yield Record(dict(zip(names, values, strict=True)))


def _values(column: pa.Array) -> Sequence[JsonValue]:
    """A column's values as JSON has them."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    kind = column.type
    if _is_text(kind) or _is_bytes(kind):
        # decoded here, for Arrow does not look whether it is UTF-8 and to_pylist stops where it is not
        return [None if value is None else os.fsdecode(value) for value in column.cast(pa.large_binary()).to_pylist()]
    if pa.types.is_timestamp(kind) or pa.types.is_time(kind):
        column = column.cast(pa.large_string())  # Python has no nanoseconds
    return [as_json(value) for value in column.to_pylist()]


def _holds_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _holds_bytes(kind.value_type)
    return _is_bytes(kind) or any(_holds_bytes(kind.field(index).type) for index in range(kind.num_fields))


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _is_bytes(kind: pa.DataType) -> bool:
    views = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view, pa.types.is_fixed_size_binary)
    return any(is_kind(kind) for is_kind in views)
