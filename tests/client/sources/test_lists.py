from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from client.rows import printable_path
from client.sources.finding import check_sources, find
from lnclip.errors import ConfigError
from tests.client.sources.conftest import MEDIA, found


def listed(content: bytes, folder: Path) -> list[str]:
    (folder / "list.txt").write_bytes(content)
    return [one.path for one in find([folder / "list.txt"])]


def test_a_line_is_a_path_to_the_letter(tmp_path: Path) -> None:
    lines = b"a.png\n b c.png \n\n  \n/x/*.jpg\nlist2.txt\ntable.csv\nlast, without an end.mp4"
    assert listed(lines, tmp_path) == [
        *("a.png", " b c.png ", "/x/*.jpg", "list2.txt", "table.csv", "last, without an end.mp4")
    ]


def test_what_windows_adds_is_no_part_of_a_path(tmp_path: Path) -> None:
    assert listed(b"\xef\xbb\xbfa.png\r\n\r\nb.png\r\n", tmp_path) == ["a.png", "b.png"]


def test_bytes_that_are_not_utf8_are_kept(tmp_path: Path) -> None:
    [path] = listed(b"pat\xe9.png\n", tmp_path)
    assert os.fsencode(path) == b"pat\xe9.png"
    assert printable_path(path) == "pat%E9.png"


def test_a_nul_in_the_first_block_separates(tmp_path: Path) -> None:
    assert listed(b"a\nb.png\0 c.png\0\0d\r", tmp_path) == ["a\nb.png", " c.png", "d\r"]


def test_lines_go_across_blocks(tmp_path: Path) -> None:
    lines = [f"{number:0{60 + number % 7}}.png" for number in range(5000)]
    assert listed("\n".join(lines).encode(), tmp_path) == lines


def test_a_line_may_be_a_folder_or_an_address(tree: Path, tmp_path: Path) -> None:
    lines = [f"{tree}/deep", "s3://bucket/a.png", "https://host/b.jpg?size=2", f"file://{tree}/a.png"]
    paths = listed("\n".join(lines).encode(), tmp_path)
    assert sorted(map(os.path.basename, paths[:4])) == ["b.PNG", "clip.mp4", "no_ending", "photo.mp4"]
    assert paths[4:] == ["s3://bucket/a.png", "https://host/b.jpg?size=2", f"{tree}/a.png"]


def test_stdin_is_a_list(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "typed").write_text(f"{tree}\ngone.png\n")
    with (tmp_path / "typed").open() as file:
        monkeypatch.setattr(sys, "stdin", file)
        assert found("-") == sorted([*MEDIA, "gone.png"])


def test_a_path_from_a_pipe_is_there_before_the_pipe_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading) as pipe, os.fdopen(writing, "wb", buffering=0) as writer:
        monkeypatch.setattr(sys, "stdin", pipe)
        finds = find(["-"])
        for name in ("a.png", "b.png"):
            writer.write(f"{name}\n".encode())
            assert next(finds).path == name
        writer.close()
        assert list(finds) == []


@pytest.mark.parametrize(
    ("content", "reason"),
    [("a.png\n".encode("utf-16"), "UTF-16"), (b"\xff\xd8\xff" + b"x" * 200_000, "is not a list: a line has more than")],
)
def test_what_is_no_list_is_refused_by_name(content: bytes, reason: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=rf"list\.txt.*{reason}"):
        listed(content, tmp_path)


def test_a_list_that_is_not_there_is_told_before_any_work(tmp_path: Path) -> None:
    check_sources([tmp_path / "gone.png", tmp_path, "-"])
    with pytest.raises(ConfigError, match=r"gone\.txt cannot be read: No such file"):
        check_sources([tmp_path / "gone.txt"])
    with pytest.raises(ConfigError, match=r"gone\.txt cannot be read: No such file"):
        list(find([tmp_path / "gone.txt"]))


def test_names_none_of_which_is_there_are_told_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="photoz: there is no such file or folder"):
        check_sources([str(tmp_path / "photoz")])
    check_sources([str(tmp_path / "photoz"), str(tmp_path)])
