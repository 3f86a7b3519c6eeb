"""A listing is streamed: what is held does not grow with it. Paths below are counted and dropped, as a run does."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from client.sources.finding import find

NUM_PATHS = 20_000
FLAT_BYTES = 800_000
"""20,000 finds take 4 MB as Python holds them."""


def write_list(folder: Path) -> Path:
    path = folder / "list.txt"
    path.write_text("".join(f"videos/{number:08}/frame.jpg\n" for number in range(NUM_PATHS)))
    return path


def write_csv(folder: Path) -> Path:
    path = folder / "t.csv"
    path.write_text("path,label\n" + "".join(f"videos/{number:08}/frame.jpg,real\n" for number in range(NUM_PATHS)))
    return path


def write_parquet(folder: Path) -> Path:
    path = folder / "t.parquet"
    pq.write_table(pa.table({"path": [f"videos/{number:08}/frame.jpg" for number in range(NUM_PATHS)]}), path)
    return path


@pytest.mark.parametrize("write", [write_list, write_csv, write_parquet])
def test_memory_does_not_grow_with_a_listing(write: Callable[[Path], Path], tmp_path: Path) -> None:
    source = write(tmp_path)
    finds = find([source])
    next(finds)  # what is imported or made once is no part of it
    gc.collect()
    tracemalloc.start()
    try:
        assert sum(1 for _ in finds) == NUM_PATHS - 1
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < FLAT_BYTES


def test_memory_does_not_grow_with_a_folder(tmp_path: Path) -> None:
    for number in range(2_000):
        (tmp_path / f"{number:08}-frame-of-a-video.jpg").touch()
    finds = find([tmp_path])
    next(finds)
    gc.collect()
    tracemalloc.start()
    try:
        assert sum(1 for _ in finds) == 1_999
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < FLAT_BYTES / 8  # the names by themselves are more
