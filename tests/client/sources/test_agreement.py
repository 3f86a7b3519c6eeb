"""The same files, however they are given."""

from __future__ import annotations

import csv
import os
import random
from pathlib import Path

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from client.reading import read_input
from client.sources.finding import find
from lnclip.media import HEAD_BYTES, is_media
from tests.conftest import encoded

PIECES = ["a", "B c", "%41", "ü", "pat\udce9", "comma,", 'quote"', "[1]", "#2", "new\nline", " ", "-", "x" * 60]


@pytest.fixture(params=range(5))
def forest(request: pytest.FixtureRequest, tmp_path: Path, astronaut: np.ndarray) -> Path:
    """A random tree whose names are as odd as names can be."""
    rng = random.Random(request.param)
    contents = [encoded(astronaut[::16, ::16], "PNG"), b"words", b"", b"\x1aE\xdf\xa3 begins as WebM does"]
    folder = tmp_path / "forest"
    for _ in range(40):
        parts = ["".join(rng.sample(PIECES, 2)) for _ in range(rng.randint(1, 4))]
        path = folder.joinpath(*parts[:-1], parts[-1] + rng.choice(["", ".jpg", ".MP4", ".json", ".ts"]))
        if not path.is_dir() and not any(parent.is_file() for parent in path.parents):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(rng.choice(contents))
    return folder


def media_by_hand(folder: Path) -> list[str]:
    endings = (".jpg", ".mp4")
    return sorted(
        f"{parent}/{name}"
        for parent, _, names in os.walk(folder)
        for name in names
        if name.lower().endswith(endings) or is_media(Path(parent, name).read_bytes()[:HEAD_BYTES], "")
    )


def paths(*given: str | Path) -> list[str]:
    finds = list(find(given))
    assert not [one for one in finds if one.error]
    return sorted(one.path for one in finds if one.what == "input")


def test_folder_pattern_list_and_table_give_the_same_files(forest: Path, tmp_path: Path) -> None:
    wanted = media_by_hand(forest)
    assert len(wanted) > 10
    assert paths(forest) == wanted
    assert paths(f"{forest}/**/*") == wanted
    (tmp_path / "nul.txt").write_bytes(b"".join(os.fsencode(path) + b"\0" for path in wanted))
    assert paths(tmp_path / "nul.txt") == wanted
    in_lines = [path for path in wanted if "\n" not in path]
    (tmp_path / "lines.txt").write_bytes(os.fsencode("\n".join(in_lines)))
    assert paths(tmp_path / "lines.txt") == in_lines
    relative = [os.path.relpath(path, tmp_path) for path in wanted]
    with (tmp_path / "t.csv").open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        csv.writer(file).writerows([["path"], *([path] for path in relative)])
    assert paths(tmp_path / "t.csv") == wanted
    pq.write_table(pa.table({"path": list(map(os.fsencode, relative))}), tmp_path / "t.parquet")
    assert paths(tmp_path / "t.parquet") == wanted


def test_a_store_gives_the_same_files_as_a_folder(forest: Path) -> None:
    store = fsspec.filesystem("memory")
    local = {path: os.path.relpath(path, forest).encode("ascii", "backslashreplace").decode() for path in paths(forest)}
    for path, name in local.items():
        store.pipe(f"/forest/{name}", Path(path).read_bytes())
    store.pipe("/forest/words.txt", b"words")
    try:
        assert paths("memory://forest") == sorted(f"memory://forest/{name}" for name in local.values())
        for path, name in local.items():
            here, there = (read_input(one) for given in (path, f"memory://forest/{name}") for one in find([given]))
            assert there.facts[3:] == here.facts[3:]
            assert (there.content, there.error) == (here.content, here.error)
            assert (there.video is None) == (here.video is None)
            if there.video is not None:
                assert there.video.path.read_bytes() == Path(path).read_bytes()
                there.video.discard()
                assert not there.video.path.exists()
    finally:
        store.rm("/forest", recursive=True)
