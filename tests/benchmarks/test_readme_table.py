"""The tables of figures: those that are committed are fresh, and what they are made of is right."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from benchmarks.kept_figures import Record, Shown, newest_figures
from benchmarks.readme_table import BEGIN, END, PAGES, Page, choose, planned, results_table, updated, write_tables
from benchmarks.records import Figure
from lnclip.errors import LnclipError
from tests.benchmarks.short_records import write


@pytest.mark.parametrize("page", PAGES, ids=["README", "benchmarks/README"])
def test_the_committed_tables_are_those_of_the_newest_records(page: Page) -> None:
    assert updated(page) == page.path.read_text(encoding="utf-8"), "stale: python -m benchmarks readme"


@pytest.mark.parametrize("page", PAGES, ids=["README", "benchmarks/README"])
def test_every_row_links_to_a_record(page: Page) -> None:
    links = re.findall(r"\]\(([^)]+_\w+\.md)\)", results_table(page))
    assert links
    assert [link for link in links if not (page.path.parent / link).is_file()] == []


def test_the_readme_table_is_short_and_shows_the_targets_encoder() -> None:
    lines = results_table(PAGES[0]).splitlines()
    assert len(lines) <= 16
    assert [line for line in lines if "ViT-B" in line or "demo-" in line] == []


# The table.


def test_a_table_by_hand(tmp_path: Path) -> None:
    results = tmp_path / "benchmarks" / "results"
    results.mkdir(parents=True)
    figures = [Figure("int8", "6.8x", "at least 7x", met=False), Figure("largest |dp|", "1e-6", "1e-5", met=True)]
    write(results, "2026-01-02_encoder", *figures)
    page = Page(tmp_path / "README.md", None)
    lines = [" ".join(line.split()) for line in results_table(page, results).splitlines() if "--" not in line]
    end = "Abacus, 2 cores | [2026-01-02](benchmarks/results/2026-01-02_encoder.md) |"
    assert lines == [
        "| what | figure | target | met | machine | record |",
        f"| int8 | 6.8x | at least 7x | **no** | {end}",
        f"| largest \\|dp\\| | 1e-6 | 1e-5 | yes | {end}",
    ]
    inside = Page(tmp_path / "benchmarks" / "README.md", None)
    assert "](results/2026-01-02_encoder.md)" in results_table(inside, results)


def shown(folder: Path, stem: str, *met: bool | None) -> list[Shown]:
    path = write(folder, stem, *(Figure(f"{stem}{place}", "1x", "-", each) for place, each in enumerate(met)))
    return [row for row in newest_figures(folder) if row.record.path == path]


def test_what_misses_its_target_is_shown_whatever_the_room(tmp_path: Path) -> None:
    rows = [
        *shown(tmp_path, "2026-01-01_a", True, None, False, True),
        *shown(tmp_path, "2026-01-01_b", True, True, None),
        *shown(tmp_path, "2026-01-01_c", None),
    ]

    def names(number: int) -> list[str]:
        return [row.figure.what.removeprefix("2026-01-01_") for row in choose(rows, number)]

    assert names(0) == names(1) == ["a2"]
    assert names(2) == ["a2", "b0"], "a benchmark that is there already waits"
    assert names(4) == ["a0", "a2", "b0", "c0"]
    assert names(5) == ["a0", "a2", "b0", "b1", "c0"], "the second ones after every first"
    assert names(6) == ["a0", "a1", "a2", "b0", "b1", "c0"]
    assert names(9) == ["a0", "a1", "a2", "a3", "b0", "b1", "b2", "c0"]


def test_the_targets_encoder_comes_before_another_one(tmp_path: Path) -> None:
    figures = [
        Figure("encoder ViT-B-32, share", "9", "8", met=True),
        Figure("encoder ViT-L-14-336, share", "9", "8", met=True),
        Figure("encoder ViT-L-14, share", "9"),
        Figure("encoder ViT-B-16, share", "7", "8", met=False),
    ]
    path = write(tmp_path, "2026-01-01_encoder", *figures)
    rows = [Shown(Record(path, json.loads(path.read_text())), figure) for figure in figures]
    assert [row.figure.what.split()[1] for row in choose(rows, 2)] == ["ViT-L-14,", "ViT-B-16,"]


def test_a_short_table_says_how_many_are_left_out(tmp_path: Path) -> None:
    shown(tmp_path, "2026-01-01_a", True, None, False)
    text = results_table(Page(tmp_path / "README.md", 2), tmp_path)
    assert len(re.findall("^\\| 2026", text, re.MULTILINE)) == 2
    assert text.endswith("\n\n1 more: [benchmarks/README.md](benchmarks/README.md).")


# The page.


def test_only_what_stands_between_the_lines_is_replaced(tmp_path: Path) -> None:
    shown(tmp_path, "2026-01-01_a", True)
    page = Page(tmp_path / "PAGE.md", None)
    page.path.write_text(f"above\n\n{BEGIN}\nold\n{END}\n\nbelow\n")
    plan = tmp_path / "PLAN.md"
    plan.write_text("above\n<!-- gpu plan -->\n<!-- /gpu plan -->\n")
    said = write_tables([page], tmp_path, plan).splitlines()
    assert [line.rpartition("/")[2] for line in said] == ["PAGE.md: brought up to date", "PLAN.md: brought up to date"]
    text = page.path.read_text()
    assert text.startswith(f"above\n\n{BEGIN}\n| what ")
    assert text.endswith(f" |\n{END}\n\nbelow\n")
    assert "old" not in text
    assert "PAGE.md: as it was" in write_tables([page], tmp_path, plan)
    assert page.path.read_text() == text
    assert plan.read_text() == planned(plan)
    assert "| 700 " in plan.read_text()


@pytest.mark.parametrize("text", ["no lines", f"{BEGIN}\nno end\n", f"{END}\n{BEGIN}\n"])
def test_a_page_without_the_lines_is_left_alone(tmp_path: Path, text: str) -> None:
    page = Page(tmp_path / "PAGE.md", None)
    page.path.write_text(text)
    with pytest.raises(LnclipError, match=r"PAGE\.md must hold the lines"):
        write_tables([page], tmp_path, page.path)
    assert page.path.read_text() == text
