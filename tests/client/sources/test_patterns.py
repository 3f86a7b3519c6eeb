from __future__ import annotations

import glob
from pathlib import Path

import pytest

from client.sources.finding import find
from client.sources.patterns import split_pattern
from tests.client.sources.conftest import MEDIA, found


@pytest.mark.parametrize(
    "pattern",
    ["*.png", "**/*.png", "deep/**/*.PNG", "d*/*/b.???", "**/[bn]*", "deep/[!ce]*", "*/inside.png", "**/er/*", "?.png"],
)
def test_matches_the_files_that_glob_matches(pattern: str, tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tree)
    matched = [path for path in glob.glob(pattern, recursive=True) if Path(path).is_file()]  # noqa: PTH207
    finds = [one for one in find([pattern]) if one.error is None]
    assert sorted(one.path for one in finds) == sorted(matched) != []
    absolute = find([f"{tree}/{pattern}"])
    assert sorted(one.path for one in absolute if one.error is None) == sorted(f"{tree}/{path}" for path in matched)


def test_a_folder_that_matches_is_walked(tree: Path) -> None:
    assert found(f"{tree}/fold*") == ["inside.png"]
    assert found(f"{tree}/**") == sorted({*MEDIA} - {"c.png"})  # .hidden is for those who name it
    assert found(f"{tree}/.h*") == ["c.png"]


def test_each_file_is_found_once_and_counted_where_patterns_meet(tree: Path) -> None:
    patterns = [f"{tree}/**/**/*.png", f"{tree}/deep", f"{tree}/d*/*"]
    assert found(*patterns) == ["a.png", "b.PNG", "clip.mp4", "inside.png", "no_ending", "photo.mp4"]
    assert found(*patterns, what="duplicate") == ["clip.mp4", "no_ending", "photo.mp4"]


def test_a_file_whose_name_is_a_pattern_is_that_file(tree: Path) -> None:
    (tree / "a[1].png").write_bytes((tree / "a.png").read_bytes())
    (tree / "a1.png").write_bytes((tree / "a.png").read_bytes())
    assert found(tree / "a[1].png") == ["a[1].png"]
    (tree / "a[1].png").unlink()
    assert found(tree / "a[1].png") == ["a1.png"]


def test_a_pattern_that_matches_nothing_has_a_row() -> None:
    [nothing] = find(["nowhere*.jpg"])
    assert (nothing.path, nothing.error.code) == ("nowhere*.jpg", "not_found")
    [unlisted] = find(["nowhere/*.jpg"])
    assert (unlisted.path, unlisted.error.code) == ("nowhere/", "folder_unreadable")


def test_a_pattern_of_tables_is_those_tables(tree: Path) -> None:
    for number in (1, 2):
        (tree / f"table{number}.csv").write_text(f"path\n{number}.png\n")
    assert found(f"{tree}/table?.csv") == ["1.png", "2.png"]
    assert "table1.csv" in found(f"{tree}/table*", what="skipped")


def test_does_not_follow_links_at_any_depth(tree: Path) -> None:
    (tree / "deep" / "up").symlink_to(tree)
    assert found(f"{tree}/deep/**/[ab]*") == ["b.PNG"]
    assert found(f"{tree}/deep/up/*.png") == ["a.png"]


def test_a_pattern_begins_at_its_first_part_that_is_one() -> None:
    assert split_pattern("*.jpg") == ("", ["*.jpg"])
    assert split_pattern("/*") == ("/", ["*"])
    assert split_pattern("../a//b/**/*.x") == ("../a//b/", ["**", "*.x"])
