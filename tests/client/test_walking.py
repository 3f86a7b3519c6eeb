from __future__ import annotations

import os
from pathlib import Path

import pytest

from client.walking import begins_like_an_image, walk
from tests.conftest import encoded


@pytest.fixture
def tree(tmp_path: Path, astronaut) -> Path:
    png = encoded(astronaut[::8, ::8], "PNG")
    for name in ("a.png", "deep/er/b.PNG", "deep/no_ending", "folder.jpg/inside.png", ".hidden/c.png"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png)
    (tmp_path / "text.jpg").write_text("not an image")
    (tmp_path / "index.csv").write_text("path,label\n")
    (tmp_path / "BMW.txt").write_text("BMW and P5 are words too")
    return tmp_path


def found(*paths: Path, what: str = "file") -> list[str]:
    return sorted(Path(find.path).name for find in walk(paths) if find.what == what)


def test_takes_what_is_an_image_by_ending_or_by_content(tree: Path) -> None:
    assert found(tree) == ["a.png", "b.PNG", "c.png", "inside.png", "no_ending", "text.jpg"]
    assert found(tree, what="skipped") == ["BMW.txt", "index.csv"]


def test_a_named_file_counts_whatever_it_is(tree: Path) -> None:
    assert found(tree / "index.csv", tree / "gone.txt") == ["gone.txt", "index.csv"]


def test_a_file_that_is_reached_twice_has_one_row(tree: Path) -> None:
    (tree / "deep" / "link.png").symlink_to(tree / "a.png")
    (tree / "linked").symlink_to(tree / "deep")
    paths = [tree / "a.png", tree, tree / "deep", tree / ".." / tree.name, tree / "a.png"]
    assert found(*paths) == ["a.png", "b.PNG", "c.png", "inside.png", "no_ending", "text.jpg"]
    assert found(*paths, what="duplicate") == ["a.png", "a.png", "link.png"]


def test_a_link_to_a_file_elsewhere_counts_once(tree: Path) -> None:
    images = tree / "images"
    images.mkdir()
    for name in ("one.png", "two.png"):
        (images / name).symlink_to(tree / "a.png")
    assert len(found(images)) == 1
    assert found(images, tree).count("a.png") == 0  # it has its row already, by the link's name
    assert len(found(images, tree)) == 6


def test_links_that_turn_in_circles_end(tree: Path) -> None:
    (tree / "deep" / "up").symlink_to(tree)
    (tree / "self.jpg").symlink_to(tree / "self.jpg")
    (tree / "dangling.jpg").symlink_to(tree / "nowhere.jpg")
    assert found(tree) == ["a.png", "b.PNG", "c.png", "dangling.jpg", "inside.png", "no_ending", "self.jpg", "text.jpg"]


def test_pipes_in_a_folder_are_skipped(tree: Path) -> None:
    os.mkfifo(tree / "pipe")
    assert "pipe" in found(tree, what="skipped")


def test_a_folder_that_cannot_be_listed_is_told(tree: Path, not_root: None) -> None:
    (tree / "deep").chmod(0)
    try:
        assert found(tree, what="folder") == ["deep"]
    finally:
        (tree / "deep").chmod(0o755)


def test_two_letters_are_not_enough_for_an_image(astronaut) -> None:
    assert begins_like_an_image(encoded(astronaut, "BMP")[:16])
    assert begins_like_an_image(encoded(astronaut, "PPM")[:16])
    assert not begins_like_an_image(b"BM is an abbrevi")
    assert not begins_like_an_image(b"P5-something else")
