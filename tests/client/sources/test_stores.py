from __future__ import annotations

import sys
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.registry import known_implementations

from client.reading import read_input, stamp
from client.sources.finding import Found, check_sources, find
from client.sources.stores import Stamp
from lnclip.errors import ConfigError
from tests.client.sources.conftest import MEDIA, found


@pytest.fixture
def memory(tree: Path) -> Iterator[str]:
    """The tree, but for its hidden folder, in fsspec's own store."""
    store = fsspec.filesystem("memory")
    store.put(str(tree), "/bucket/tree", recursive=True)
    yield "memory://bucket/tree"
    store.rm("/bucket", recursive=True)


class Server(SimpleHTTPRequestHandler):
    """Knows no ranges, as Python's own does not."""

    def do_GET(self) -> None:
        if self.path.startswith("/secret"):
            self.send_error(403)
        elif self.path.startswith("/cut"):
            self.send_response(200)
            self.send_header("Content-Length", "5000")
            self.end_headers()
            self.wfile.write(b"\xff\xd8\xff")
        elif self.path.startswith("/unmeasured"):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"\xff\xd8\xff" + b"x" * 3000)
        else:
            super().do_GET()

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, *args: object) -> None:
        """Not on stderr."""


@pytest.fixture
def web(tree: Path) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Server, directory=tree)) as server:
        thread = Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def read(path: str):
    return read_input(Found(path, "input"))


def test_a_folder_of_a_store_is_walked(memory: str) -> None:
    visible = [name for name in MEDIA if name != "c.png"]
    assert [name for name in found(memory) if name != "c.png"] == visible
    assert found(memory + "/deep/er/") == ["b.PNG"]
    assert found(memory, what="skipped") == ["BMW.txt", "code.ts", "index.csv"]
    assert [one.path for one in find([memory + "/folder.jpg"])] == [memory + "/folder.jpg/inside.png"]


def test_folders_are_listed_one_by_one_and_not_kept(memory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = []
    ls = MemoryFileSystem.ls

    def watched(self: MemoryFileSystem, path: str, **kwargs: object) -> object:
        listed.append(path)
        return ls(self, path, **kwargs)

    monkeypatch.setattr(MemoryFileSystem, "ls", watched)
    finds = find([memory])
    next(finds)
    assert len(listed) == 1
    list(finds)
    assert len(listed) == len(set(listed)) >= 4


def test_patterns_of_a_store(memory: str) -> None:
    assert found(memory + "/**/*.PNG") == ["b.PNG"]
    assert found(memory + "/d*/[cn]*") == ["clip.mp4", "no_ending"]
    fsspec.filesystem("memory").pipe("/bucket/tree/a[1]?.png", b"\x89PNG\r\n\x1a\n")
    assert found(memory + "/a[1]?.png") == ["a[1]?.png"]
    [nothing] = find([memory + "/no*"])
    assert (nothing.path, nothing.error.code) == (memory + "/no*", "not_found")


def test_lists_and_tables_may_lie_in_a_store(memory: str, web: str, tree: Path) -> None:
    (tree / "t.csv").write_text("path,label\na.png,real\nmemory://x/b.png,fake\n")
    (tree / "list.txt").write_text(f"{memory}/deep/\nb.png\n")
    store = fsspec.filesystem("memory")
    for name in ("t.csv", "list.txt"):
        store.put(str(tree / name), f"/bucket/tree/{name}")
    for place in (memory, web):
        check_sources([f"{place}/t.csv", f"{place}/list.txt"])
        assert list(find([f"{place}/t.csv"])) == [
            Found(f"{place}/a.png", "input", {"label": "real"}),
            Found("memory://x/b.png", "input", {"label": "fake"}),
        ]
        assert found(f"{place}/list.txt") == ["b.PNG", "b.png", "clip.mp4", "no_ending", "photo.mp4"]
    with pytest.raises(ConfigError, match=r"gone\.csv cannot be read: there is no such object"):
        check_sources([f"{web}/gone.csv"])


def test_an_archive_is_a_store(tree: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "tree.zip", "w") as archive:
        for name in ("a.png", "deep/clip.mp4", "BMW.txt"):
            archive.write(tree / name, name)
    paths = [one.path for one in find([f"zip://::{tmp_path}/tree.zip"]) if one.what == "input"]
    assert sorted(paths) == [f"zip://a.png::{tmp_path}/tree.zip", f"zip://deep/clip.mp4::{tmp_path}/tree.zip"]
    assert [one.path for one in find([f"zip://**/*.mp4::{tmp_path}/tree.zip"])] == [paths[1]]
    assert read(paths[0]).content == (tree / "a.png").read_bytes()
    (tmp_path / "broken.zip").write_bytes(b"PK\x03\x04 and no more")
    assert read(f"zip://a.png::{tmp_path}/broken.zip").error.code == "read_failed"


def test_a_web_server_without_ranges_is_read(web: str, tree: Path) -> None:
    assert found(f"{web}/deep/") == ["b.PNG", "clip.mp4", "no_ending", "photo.mp4"]
    assert [one.path for one in find([f"{web}/a.png?width=10"])] == [f"{web}/a.png?width=10"]
    local, remote = read(str(tree / "a.png")), read(f"{web}/a.png?width=10")
    assert remote.content == local.content
    assert remote.facts[1] == local.facts.size_bytes
    assert remote.facts[3:] == local.facts[3:]
    seconds = local.facts.mtime_ns // 10**9 * 10**9  # HTTP's times have no more
    assert stamp(f"{web}/a.png") == Stamp(local.facts.size_bytes, seconds) == remote.facts[1:3]
    video = read(f"{web}/video.jpg")
    assert video.facts.kind == "video"
    assert video.video.path.read_bytes() == (tree / "video.jpg").read_bytes()
    assert video.facts.sha256 == read(str(tree / "video.jpg")).facts.sha256
    video.video.discard()


def test_what_a_server_does_not_measure_is_read_all_the_same(web: str) -> None:
    file = read(f"{web}/unmeasured.jpg")
    assert (file.error, file.facts.size_bytes, file.facts.mtime_ns) == (None, 3003, None)


@pytest.mark.parametrize(
    ("path", "code", "words"),
    [
        ("/gone.jpg", "not_found", "no such object"),
        ("/secret.jpg", "no_permission", "403"),
        ("/cut.jpg", "read_failed", "not enough data"),
    ],
)
def test_trouble_with_a_web_server_is_a_row(web: str, path: str, code: str, words: str) -> None:
    file = read(web + path)
    assert (file.content, file.error.code) == (b"", code)
    assert words in file.error.message.lower()
    assert [one.error for one in find([web + path])] == [None]


def test_a_server_that_is_not_there_is_a_row() -> None:
    file = read("http://127.0.0.1:9/a.jpg")
    assert file.error.code == "read_failed"
    assert "127.0.0.1" in file.error.message
    assert stamp("http://127.0.0.1:9/a.jpg") is None


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    bit = {"class": "nowherefs.NowhereFileSystem", "err": "Install nowherefs to access nowhere"}
    monkeypatch.setitem(known_implementations, "nowhere", bit)
    with pytest.raises(ConfigError, match=r"nowhere://bucket/a\.png: .*Install nowherefs"):
        check_sources(["nowhere://bucket/a.png"])
    assert read("nowhere://bucket/a.png").error.code == "not_installed"
    assert [one.error.code for one in find(["nowhere://bucket/*.png"])] == ["not_installed"]
    assert stamp("nowhere://bucket/a.png") is None
    with pytest.raises(ConfigError, match="Protocol not known: nonsense"):
        check_sources(["nonsense://a.png"])
    assert read("nonsense://a.png").error.code == "bad_address"


class NoCredentialsError(Exception):
    """As botocore has it: no OSError."""


class Locked(MemoryFileSystem):
    """A store that nobody has credentials for."""

    protocol = "locked"

    def info(self, path: str, **kwargs: object) -> dict[str, object]:
        raise NoCredentialsError("Unable to locate credentials")

    ls = isdir = exists = info


def test_missing_credentials_are_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "botocore.exceptions", SimpleNamespace(BotoCoreError=NoCredentialsError))
    fsspec.register_implementation("locked", Locked, clobber=True)
    assert read("locked://bucket/a.png").error.code == "no_credentials"
    [one] = find(["locked://bucket/folder"])
    assert (one.path, one.error.code) == ("locked://bucket/folder", "no_credentials")
    [one] = find(["locked://bucket/folder/"])
    assert one.error.code == "folder_unreadable"
    assert "credentials" in one.error.message


def test_an_address_on_this_machine_is_a_path(tree: Path) -> None:
    assert found(f"file://{tree}") == MEDIA
    assert [one.path for one in find([f"file://{tree}/a.png"])] == [f"{tree}/a.png"]
    assert stamp(f"file://{tree}/a.png") == stamp(f"{tree}/a.png")
