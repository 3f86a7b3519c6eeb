"""The tables of figures in README.md and benchmarks/README.md: written from the newest records, never by hand.

What stands between the lines ``<!-- results -->`` and ``<!-- /results -->`` is replaced.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.kept_figures import Record, newest_records
from benchmarks.records import RESULTS, Figure, figure_cells, table
from lnclip.errors import LnclipError

ROOT = RESULTS.parent.parent
BEGIN, END = "<!-- results -->", "<!-- /results -->"
COLUMNS = ("what", "figure", "target", "met", "machine", "record")


class Page(NamedTuple):
    """A file with a table of figures in it."""

    path: Path
    max_rows: int | None
    """None shows all."""


PAGES = (Page(ROOT / "README.md", 6), Page(ROOT / "benchmarks" / "README.md", None))


class Shown(NamedTuple):
    """A row: one figure of one record."""

    record: Record
    figure: Figure


def write_tables(pages: Sequence[Page] = PAGES, results: Path = RESULTS) -> str:
    """Bring every page up to date; one line for each says what was done.

    Raises:
        LnclipError: a page lacks the two lines, or a file among the results is no record.
    """
    said = []
    for page in pages:
        text, fresh = page.path.read_text(encoding="utf-8"), updated(page, results)
        page.path.write_text(fresh, encoding="utf-8")
        said.append(f"{os.path.relpath(page.path)}: {'as it was' if text == fresh else 'brought up to date'}")
    return "\n".join(said)


def updated(page: Page, results: Path = RESULTS) -> str:
    """A page's text as it has to be.

    Raises:
        LnclipError: as ``write_tables``.
    """
    text = page.path.read_text(encoding="utf-8")
    before, found, rest = text.partition(f"{BEGIN}\n")
    _, closed, after = rest.partition(END)
    if not found or not closed:
        raise LnclipError(f"{page.path} must hold the lines {BEGIN} and {END}, between which its table belongs")
    return f"{before}{BEGIN}\n{results_table(page, results)}\n{END}{after}"


def results_table(page: Page, results: Path = RESULTS) -> str:
    """Markdown: a row for each figure, and how many more there are where the page is short of room."""
    everything = [Shown(record, figure) for record in newest_records(results) for figure in record.figures]
    shown = choose(everything, len(everything) if page.max_rows is None else page.max_rows)
    text = table(COLUMNS, [_cells(row, page.path.parent) for row in shown])
    left_out = len(everything) - len(shown)
    return f"{text}\n\n{left_out} more: [benchmarks/README.md](benchmarks/README.md)." if left_out else text


def choose(rows: Sequence[Shown], number: int) -> list[Shown]:
    """So many rows, in the order they have.

    Those that miss their target come first: a table that is short of room must not hide them. Then each
    record's first, each one's second, and so on.
    """
    rank: list[tuple[bool, int, int]] = []
    seen: dict[Path, int] = {}
    for place, row in enumerate(rows):
        seen[row.record.path] = seen.get(row.record.path, 0) + 1
        rank.append((row.figure.met is not False, seen[row.record.path], place))
    return [rows[place] for place in sorted(place for *_, place in sorted(rank)[:number])]


def _cells(row: Shown, folder: Path) -> tuple[str, ...]:
    """One row; the link goes from the page's folder to the record's Markdown."""
    link = Path(os.path.relpath(row.record.path.with_suffix(".md"), folder)).as_posix()
    return (*figure_cells(row.figure), row.record.machine, f"[{row.record.utc[:10]}]({link})")
