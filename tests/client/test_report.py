from __future__ import annotations

import re
from pathlib import Path

import pytest

from client.report import write_report
from client.rows import printable_path
from client.writers import open_writer
from lnclip.errors import ConfigError
from tests.client.test_rows import ERROR, NO_FACE, OK
from tests.conftest import jpeg


@pytest.fixture
def results(tmp_path: Path, astronaut) -> Path:
    photo = tmp_path / "<b>100%&.jpg"
    photo.write_bytes(jpeg(astronaut))
    path = tmp_path / "rows.jsonl"
    with open_writer(path) as writer:
        writer.write([OK.model_copy(update={"path": printable_path(photo)}), NO_FACE, ERROR])
    return path


def page_of(results: Path, note: str = "") -> str:
    out = results.with_name("report.html")
    write_report(results, out, note)
    return out.read_text(encoding="utf-8")


def test_counts_tables_and_says_what_the_numbers_are(results: Path) -> None:
    page = page_of(results)
    for text in (
        "3 files",
        "<b>1</b> no_face",
        "<b>1</b> fake",
        "<b>2</b> demo",
        "0.750",
        "not_found: gone",
        "not a proof",
    ):
        assert text in page
    assert page.count("<tr>") == 1 + 3
    assert page.count("data:image/jpeg;base64,") == 1  # the one file that is there


def test_names_and_notes_are_text_never_markup(results: Path) -> None:
    page = page_of(results, note="<script>alert(1)</script>")
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "&lt;b&gt;100%25&amp;.jpg" in page


def test_loads_nothing_from_elsewhere(results: Path) -> None:
    page = page_of(results)
    assert "default-src 'none'" in page
    assert all(source.startswith("data:") for source in re.findall(r'(?:src|href)="([^"]*)"', page))
    assert "url(" not in page


def test_a_note_stands_at_the_top(results: Path) -> None:
    page = page_of(results, note="a demo, no detector")
    assert page.index("a demo, no detector") < page.index("<table")


def test_a_missing_result_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.csv cannot be read"):
        write_report(tmp_path / "nowhere.csv", tmp_path / "report.html")


def test_the_page_never_replaces_its_rows(results: Path) -> None:
    before = results.read_bytes()
    with pytest.raises(ConfigError, match="is the result file itself"):
        write_report(results, results)
    assert results.read_bytes() == before
