from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from client.sources.finding import find
from tests.client.sources.conftest import MEDIA, OTHERS, found


def test_takes_what_is_media_by_ending_or_by_content(tree: Path) -> None:
    assert found(tree) == MEDIA
    assert found(tree, what="skipped") == OTHERS


def test_a_named_file_counts_whatever_it_is(tree: Path) -> None:
    assert found(tree / "code.ts", tree / "gone.jpg") == ["code.ts", "gone.jpg"]


def test_a_file_that_is_reached_twice_has_one_row(tree: Path) -> None:
    (tree / "deep" / "link.png").symlink_to(tree / "a.png")
    (tree / "linked").symlink_to(tree / "deep")
    paths = [tree / "a.png", tree, tree / "deep", tree / ".." / tree.name, tree / "a.png"]
    for order in (paths, paths[::-1]):
        assert found(*order) == MEDIA
        assert found(*order, what="duplicate") == ["a.png", "a.png", "link.png"]


def test_a_file_that_the_walk_skipped_counts_when_it_is_named(tree: Path) -> None:
    assert "code.ts" in found(tree, tree / "code.ts")


def test_a_link_to_a_file_elsewhere_counts_once(tree: Path) -> None:
    images = tree / "images"
    images.mkdir()
    for name in ("one.png", "two.png"):
        (images / name).symlink_to(tree / "a.png")
    assert len(found(images)) == 1
    assert found(images, tree).count("a.png") == 0  # it has its row already, by the link's name
    assert len(found(images, tree)) == len(MEDIA)


def test_links_that_turn_in_circles_end(tree: Path) -> None:
    (tree / "deep" / "up").symlink_to(tree)
    (tree / "self.jpg").symlink_to(tree / "self.jpg")
    (tree / "dangling.jpg").symlink_to(tree / "nowhere.jpg")
    assert found(tree) == sorted([*MEDIA, "dangling.jpg", "self.jpg"])


def test_pipes_in_a_folder_are_skipped(tree: Path) -> None:
    os.mkfifo(tree / "pipe")
    os.mkfifo(tree / "open")
    reader = os.open(tree / "open", os.O_RDWR)  # opening it for reading would not fail, and reading would wait
    try:
        assert {"open", "pipe"} <= {*found(tree, what="skipped")}
    finally:
        os.close(reader)


def test_a_folder_that_cannot_be_listed_is_an_input_with_an_error(tree: Path, not_root: None) -> None:
    (tree / "deep").chmod(0)
    try:
        [trouble] = [one for one in find([tree]) if one.error]
    finally:
        (tree / "deep").chmod(0o755)
    assert (trouble.path, trouble.what) == (str(tree / "deep"), "input")
    assert trouble.error.code == "folder_unreadable"


def test_a_folder_that_breaks_off_is_an_input_with_an_error(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scandir = os.scandir

    def failing(folder: str):
        if folder.endswith("deep"):
            raise OSError(errno.EIO, "Input/output error")
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", failing)
    [trouble] = [one for one in find([tree]) if one.error]
    assert trouble.path == str(tree / "deep")
    assert trouble.error.message == "cannot be listed (Input/output error): what lies below it was not scored"
    assert "inside.png" in found(tree)


@pytest.mark.parametrize("name", ["nul\0.jpg", "a" * 300 + ".jpg"])
def test_a_path_that_cannot_be_is_an_input(name: str) -> None:
    assert [one.what for one in find([name])] == ["input"]
