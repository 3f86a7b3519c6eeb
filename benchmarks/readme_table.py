"""The tables of figures in README.md and benchmarks/README.md, from the newest records, and the plan's in OPERATIONS.

None is written by hand: what stands between the lines ``<!-- results -->`` and ``<!-- /results -->``, or those of
``gpu plan``, is replaced.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.gpu_plan import CEILINGS_TFLOPS, CPU_TIMES, ONE_FACE, plan_table
from benchmarks.kept_figures import Shown, newest_figures
from benchmarks.records import FIGURE_COLUMNS, RESULTS, figure_cells, table
from lnclip.errors import LnclipError

ROOT = RESULTS.parent.parent
BEGIN, END = "<!-- results -->", "<!-- /results -->"
COLUMNS = (*FIGURE_COLUMNS, "machine", "record")
OPERATIONS = ROOT / "docs" / "OPERATIONS.md"
"""Shows the plan for one GPU."""


class Page(NamedTuple):
    """A file with a table of figures in it."""

    path: Path
    max_rows: int | None
    """None shows all; those that miss their target are shown whatever it says."""


PAGES = (Page(ROOT / "README.md", 6), Page(ROOT / "benchmarks" / "README.md", None))


def write_tables(pages: Sequence[Page] = PAGES, results: Path = RESULTS, operations: Path = OPERATIONS) -> str:
    """Bring every page up to date; one line for each says what was done.

    Raises:
        LnclipError: a page lacks the two lines, or a file among the results is no record.
    """
    said = []
    for path, fresh in {
        **{page.path: updated(page, results) for page in pages},
        operations: planned(operations),
    }.items():
        text = path.read_text(encoding="utf-8")
        path.write_text(fresh, encoding="utf-8")
        said.append(f"{os.path.relpath(path)}: {'as it was' if text == fresh else 'brought up to date'}")
    return "\n".join(said)


def updated(page: Page, results: Path = RESULTS) -> str:
    """A page's text as it has to be.

    Raises:
        LnclipError: as ``write_tables``.
    """
    return _replaced(page.path, (BEGIN, END), results_table(page, results))


def planned(path: Path = OPERATIONS) -> str:
    """The text of the page with the plan for one GPU, as it has to be.

    Raises:
        LnclipError: it lacks the two lines.
    """
    content = plan_table(ONE_FACE, CPU_TIMES, CEILINGS_TFLOPS)
    return _replaced(path, ("<!-- gpu plan -->", "<!-- /gpu plan -->"), content)


def _replaced(path: Path, lines: tuple[str, str], content: str) -> str:
    begin, end = lines
    before, found, rest = path.read_text(encoding="utf-8").partition(f"{begin}\n")
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise LnclipError(f"{path} must hold the lines {begin} and {end}, between which its table belongs")
    return f"{before}{begin}\n{content}\n{end}{after}"


def results_table(page: Page, results: Path = RESULTS) -> str:
    """Markdown: a row for each figure, and how many more there are where the page is short of room."""
    everything = newest_figures(results)
    shown = choose(everything, len(everything) if page.max_rows is None else page.max_rows)
    text = table(COLUMNS, [_cells(row, page.path.parent) for row in shown])
    left_out = len(everything) - len(shown)
    return f"{text}\n\n{left_out} more: [benchmarks/README.md](benchmarks/README.md)." if left_out else text


def choose(rows: Sequence[Shown], number: int) -> list[Shown]:
    """So many rows, in the order they have; more where more of them miss their target.

    Those that miss it come first: a table that is short of room must not hide them. Then those of no other encoder
    than the targets', and of these each benchmark's first, which is its most important, each one's second, and so on.
    """
    wishes = [(row.figure.met is not False, row.is_of_another_encoder) for row in rows]
    seen, rank = Counter[str](), list[tuple[tuple[bool, bool], int, int]]()
    for wish, place in sorted((wish, place) for place, wish in enumerate(wishes)):
        benchmark = rows[place].record.benchmark
        seen[benchmark] += 1
        rank.append((wish, seen[benchmark], place))
    misses = sum(row.figure.met is False for row in rows)
    return [rows[place] for place in sorted(place for *_, place in sorted(rank)[: max(number, misses)])]


def _cells(row: Shown, folder: Path) -> tuple[str, ...]:
    """One row; the link goes from the page's folder to the record's Markdown."""
    link = Path(os.path.relpath(row.record.path.with_suffix(".md"), folder)).as_posix()
    return (*figure_cells(row.figure), row.machine, f"[{row.record.utc[:10]}]({link})")
