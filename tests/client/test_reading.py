from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

import fsspec
import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from client.reading import MAX_FILE_BYTES, ReadFile, Stamp, from_bytes, read_input, stamp
from client.rows import Row, RowError
from client.sources.finding import Found
from tests.clips import shade, write_clip
from tests.conftest import jpeg


@pytest.fixture
def clip(tmp_path: Path) -> bytes:
    return write_clip(tmp_path / "clip.mp4", [shade(number) for number in range(8)]).read_bytes()


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where copies of videos go."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def read(path: Path | str) -> ReadFile:
    return read_input(Found(os.fspath(path), "input"))


def test_an_image_is_read_whole(tmp_path: Path, astronaut: np.ndarray) -> None:
    content = jpeg(astronaut)
    (tmp_path / "photo.mp4").write_bytes(content)
    file = read(tmp_path / "photo.mp4")
    assert (file.content, file.error, file.video) == (content, None, None)
    assert file.facts.kind == "image"
    assert file.facts.sha256 == hashlib.sha256(content).hexdigest()


def test_a_video_stays_where_it_is(tmp_path: Path, clip: bytes) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(clip)
    file = read(path)
    assert (file.content, file.error, file.facts.kind) == (b"", None, "video")
    assert (file.facts.size_bytes, file.facts.sha256) == (len(clip), hashlib.sha256(clip).hexdigest())
    assert (file.video.path, file.video.is_copy) == (path, False)
    file.video.discard()
    assert path.exists()


def test_the_stamp_is_what_the_row_says(tmp_path: Path, clip: bytes) -> None:
    path = tmp_path / "clip.mp4"
    assert stamp(str(path)) == read(path).facts[1:3] == Stamp(len(clip), path.stat().st_mtime_ns)
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8\xff")
    assert stamp(str(tmp_path / "photo.jpg")) == read(tmp_path / "photo.jpg").facts[1:3]
    assert stamp(str(tmp_path / "gone.jpg")) is None
    assert stamp("nul\0") is None


@pytest.mark.parametrize(("name", "kind"), [("a.mp4", "video"), ("a.jpg", "image"), ("a", "image"), ("a.ts", "video")])
def test_an_empty_file_is_an_error_of_its_kind(name: str, kind: str, tmp_path: Path) -> None:
    (tmp_path / name).touch()
    fsspec.filesystem("memory").pipe(f"/empty/{name}", b"")
    for path in (f"{tmp_path}/{name}", f"memory://empty/{name}"):
        file = read(path)
        assert (file.facts.kind, file.facts.size_bytes, file.error.code, file.video) == (kind, 0, "empty", None)
        assert file.facts.sha256 == hashlib.sha256(b"").hexdigest()


def test_trouble_is_in_the_answer(tmp_path: Path) -> None:
    (tmp_path / "loop.jpg").symlink_to(tmp_path / "loop.jpg")
    os.mkfifo(tmp_path / "pipe.mp4")
    codes = {name: read(tmp_path / name).error.code for name in ("gone.mp4", "loop.jpg", "pipe.mp4", "", "n\0l.png")}
    assert codes == {
        "gone.mp4": "not_found",
        "loop.jpg": "symlink_loop",
        "pipe.mp4": "not_a_file",
        "": "not_a_file",
        "n\0l.png": "not_found",
    }
    assert read(tmp_path / "gone.mp4").facts.kind == "video"
    assert read("\ud800.jpg").error is not None
    assert read("http://[::1/a.mp4").error.code == "bad_address"


def test_what_the_source_says_goes_into_the_row() -> None:
    trouble = RowError(code="bad_row", message="no path")
    file = read_input(Found("t.csv#row=1", "input", {"label": "real"}, trouble))
    assert file.error == trouble
    row = Row(
        **file.facts._asdict(), status="error", verdict=None, p_fake=None, num_faces=None, width=None, height=None,
        error=trouble, model=None, elapsed_ms=0,
    )  # fmt: skip
    assert (row.path, row.columns, row.size_bytes) == ("t.csv#row=1", {"label": "real"}, None)


def test_an_image_larger_than_any_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "large.bmp"
    with path.open("wb") as file:
        file.write(b"BM" + bytes(8))
        file.truncate(MAX_FILE_BYTES + 1)
    answer = read(path)
    assert (answer.content, answer.error.code) == (b"", "too_many_bytes")
    assert answer.facts.size_bytes == MAX_FILE_BYTES + 1
    assert len(answer.facts.sha256) == 64


def test_an_object_larger_than_any_image_is_not_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("client.reading.MAX_FILE_BYTES", 3000)
    fsspec.filesystem("memory").pipe("/large/a.jpg", b"\xff\xd8\xff" + bytes(3000))
    answer = read("memory://large/a.jpg")
    assert (answer.content, answer.error.code, answer.facts.size_bytes) == (b"", "too_many_bytes", 3003)
    assert answer.facts.sha256 is None


def test_a_video_in_a_store_is_copied_and_the_copy_goes(temporary: Path, clip: bytes) -> None:
    fsspec.filesystem("memory").pipe("/videos/clip", clip)
    file = read("memory://videos/clip")
    assert (file.facts.kind, file.facts.size_bytes) == ("video", len(clip))
    assert file.facts.sha256 == hashlib.sha256(clip).hexdigest()
    assert file.video.path.parent == temporary
    assert file.video.path.read_bytes() == clip
    assert stamp("memory://videos/clip") == file.facts[1:3]
    file.video.discard()
    assert list(temporary.iterdir()) == []


def test_a_video_that_breaks_off_leaves_no_copy(temporary: Path, clip: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    class Breaking:
        """A file whose second block does not come."""

        num_reads = 0

        def __enter__(self) -> Breaking:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def read(self, _: int) -> bytes:
            self.num_reads += 1
            if self.num_reads > 2:
                raise ConnectionResetError("the store hung up")
            return clip[:1024]

    fsspec.filesystem("memory").pipe("/videos/clip.mp4", clip)
    monkeypatch.setattr(MemoryFileSystem, "open", lambda *_, **__: Breaking())
    file = read("memory://videos/clip.mp4")
    assert (file.error.code, file.error.message, file.video) == ("read_failed", "the store hung up", None)
    assert list(temporary.iterdir()) == []


def test_bytes_are_read_as_a_file_without_a_name(temporary: Path, clip: bytes, astronaut: np.ndarray) -> None:
    content = jpeg(astronaut)
    image = from_bytes(content)
    assert (image.facts.path, image.content, image.facts.kind) == ("", content, "image")
    video = from_bytes(clip)
    assert (video.content, video.facts.kind, video.facts.size_bytes) == (b"", "video", len(clip))
    assert video.video.path.read_bytes() == clip
    video.video.discard()
    assert list(temporary.iterdir()) == []
    assert from_bytes(b"").error.code == "empty"
