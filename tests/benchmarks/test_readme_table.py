"""The tables of figures: those that are committed are fresh, and what they are made of is right."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from benchmarks.kept_figures import ORDER, Record, newest_records
from benchmarks.readme_table import BEGIN, END, PAGES, Page, Shown, choose, results_table, updated, write_tables
from benchmarks.records import RESULTS, Figure
from lnclip.errors import LnclipError


@pytest.mark.parametrize("page", PAGES, ids=["README", "benchmarks/README"])
def test_the_committed_tables_are_those_of_the_newest_records(page: Page) -> None:
    assert updated(page) == page.path.read_text(encoding="utf-8"), "stale: python -m benchmarks readme"


@pytest.mark.parametrize("page", PAGES, ids=["README", "benchmarks/README"])
def test_every_row_links_to_a_record(page: Page) -> None:
    links = re.findall(r"\]\(([^)]+_\w+\.md)\)", results_table(page))
    assert links
    assert [link for link in links if not (page.path.parent / link).is_file()] == []


def test_the_readme_table_is_short() -> None:
    assert len(results_table(PAGES[0]).splitlines()) <= 16


# What is in the committed records, worked out by hand from their tables.


def test_records_that_name_no_figures_have_theirs_derived() -> None:
    for stem, expected in OLD.items():
        record = Record(RESULTS / f"{stem}.json", json.loads((RESULTS / f"{stem}.json").read_text()))
        assert "figures" not in record.content
        assert record.figures == expected


OLD = {
    "2026-11-21_training": [
        Figure("LN-tuning ViT-B-16, batch 8, against the papers' loop", "1.11x images/s"),
        Figure("LN-tuning ViT-B-16, batch 8, against full fine-tuning", "1.48x images/s, 63% of the memory"),
    ],
    "2026-11-21_client": [
        Figure("client's own CPU time for a 1280x720 JPEG", "1.37 ms", "at most 1.0 ms", met=False),
    ],
    "2026-11-21_client_memory": [
        Figure(
            "client memory while scoring 50,000 files",
            "325 MB at most, +1.3% from second to last quarter",
            "flat in the number of files",
            met=True,
        ),
    ],
}


# Which records.


def write(folder: Path, stem: str, *, utc: str, gpu: str | None = None, figures: list[Figure] | None = None) -> Path:
    """A record as ``write_record`` leaves it, as far as the tables read it; the name's second word is the benchmark."""
    date, _, name = stem.partition("_")
    content = {
        "benchmark": re.sub(r"_\d+$", "", name),
        "utc": f"{date}T{utc}+00:00",
        "machine": {"processor": "Abacus", "cores": 2, "gpu": gpu},
        "figures": [each._asdict() for each in figures or [Figure("what", "1x")]],
    }
    path = folder / f"{stem}.json"
    path.write_text(json.dumps(content))
    return path


def test_the_newest_of_each_benchmark_counts_and_a_gpu_for_itself(tmp_path: Path) -> None:
    write(tmp_path, "2026-01-02_encoder", utc="10:00:00")
    write(tmp_path, "2026-01-02_encoder_2", utc="11:00:00")
    write(tmp_path, "2026-01-02_encoder_10", utc="12:00:00")
    write(tmp_path, "2025-12-31_encoder", utc="23:00:00", gpu="H100")
    write(tmp_path, "2026-01-01_tune", utc="10:00:00")
    write(tmp_path, "2026-01-01_abacus", utc="10:00:00")
    write(tmp_path, "2026-01-01_serving_images", utc="10:00:00")
    found = [record.path.stem for record in newest_records(tmp_path)]
    assert found == [
        "2026-01-02_encoder_10",
        "2025-12-31_encoder",
        "2026-01-01_serving_images",
        "2026-01-01_tune",
        "2026-01-01_abacus",
    ]
    assert [record.machine for record in newest_records(tmp_path)][:2] == ["Abacus, 2 cores", "H100"]


def test_a_record_without_figures_of_an_unknown_benchmark_has_no_rows(tmp_path: Path) -> None:
    path = write(tmp_path, "2026-01-01_abacus", utc="10:00:00")
    content = json.loads(path.read_text())
    del content["figures"]
    path.write_text(json.dumps(content))
    assert newest_records(tmp_path)[0].figures == []


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"benchmark": "training", "utc": "x", "machine": {"gpu": "H100"}}'])
def test_a_file_that_is_no_record_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "2026-01-01_x.json").write_text(text)
    with pytest.raises(LnclipError, match=r"2026-01-01_x\.json is no record"):
        newest_records(tmp_path)


# The table.


def test_a_table_by_hand(tmp_path: Path) -> None:
    results = tmp_path / "benchmarks" / "results"
    results.mkdir(parents=True)
    figures = [Figure("int8", "6.8x", "at least 7x", met=False), Figure("largest |dp|", "1e-6", "1e-5", met=True)]
    write(results, "2026-01-02_encoder", utc="10:00:00", figures=figures)
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
    write(
        folder,
        stem,
        utc="10:00:00",
        figures=[Figure(f"{stem}{place}", "1x", "-", each) for place, each in enumerate(met)],
    )
    [record] = [record for record in newest_records(folder) if record.path.stem == stem]
    return [Shown(record, figure) for figure in record.figures]


def test_what_misses_its_target_is_shown_whatever_the_room(tmp_path: Path) -> None:
    rows = [
        *shown(tmp_path, "2026-01-01_a", True, None, False),
        *shown(tmp_path, "2026-01-01_b", True, True),
        *shown(tmp_path, "2026-01-01_c", None),
    ]

    def names(number: int) -> list[str]:
        return [row.figure.what.removeprefix("2026-01-01_") for row in choose(rows, number)]

    assert names(1) == ["a2"]
    assert names(2) == ["a0", "a2"]
    assert names(4) == ["a0", "a2", "b0", "c0"], "each record's first before anybody's second"
    assert names(9) == ["a0", "a1", "a2", "b0", "b1", "c0"]


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
    assert write_tables([page], tmp_path).endswith("PAGE.md: brought up to date")
    text = page.path.read_text()
    assert text.startswith(f"above\n\n{BEGIN}\n| what ")
    assert text.endswith(f" |\n{END}\n\nbelow\n")
    assert "old" not in text
    assert write_tables([page], tmp_path).endswith("PAGE.md: as it was")
    assert page.path.read_text() == text


@pytest.mark.parametrize("text", ["no lines", f"{BEGIN}\nno end\n", f"{END}\n{BEGIN}\n"])
def test_a_page_without_the_lines_is_left_alone(tmp_path: Path, text: str) -> None:
    page = Page(tmp_path / "PAGE.md", None)
    page.path.write_text(text)
    with pytest.raises(LnclipError, match=r"PAGE\.md must hold the lines"):
        write_tables([page], tmp_path)
    assert page.path.read_text() == text


def test_the_order_names_no_benchmark_twice() -> None:
    assert len(set(ORDER)) == len(ORDER)
