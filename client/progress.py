"""How a run goes, on stderr: a bar on a terminal, a log line now and then elsewhere."""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from client.pipeline import FoundCount
from client.rows import Row
from client.sources.finding import LIST_ENDING, STDIN, find
from client.sources.stores import is_url
from client.sources.tables import TABLE_ENDINGS

log = logging.getLogger(__name__)

LOG_EVERY_S = 10.0


@dataclass
class Tally:
    """What was scored so far."""

    ok: int = 0
    no_face: int = 0
    errors: int = 0
    faces: int = 0
    codes: Counter[str] = field(default_factory=Counter)
    """Errors by code."""

    started_s: float = field(default_factory=time.monotonic)

    def add(self, rows: Iterable[Row]) -> None:
        """Count them."""
        for row in rows:
            self.ok += row.status == "ok"
            self.no_face += row.status == "no_face"
            self.errors += row.status == "error"
            self.faces += row.num_faces or 0
            if row.error is not None:
                self.codes[row.error.code] += 1

    @property
    def files(self) -> int:
        """Rows of any status."""
        return self.ok + self.no_face + self.errors

    @property
    def elapsed_s(self) -> float:
        """Since the beginning."""
        return max(time.monotonic() - self.started_s, 1e-3)

    @property
    def rates(self) -> str:
        """In words, with the errors."""
        files_s, faces_s = self.files / self.elapsed_s, self.faces / self.elapsed_s
        return f"{files_s:.1f} files/s, {faces_s:.1f} faces/s, {self.errors} errors"


class Shown(Protocol):
    """Called whenever there is something new."""

    def __call__(self, tally: Tally, found: FoundCount) -> None:
        """Show where things stand."""
        ...


@contextmanager
def show_progress(paths: Sequence[str], console: Console | None = None) -> Iterator[Shown]:
    """A bar when stderr is a terminal, else log lines; it is gone at the end."""
    console = console or Console(stderr=True)
    if not console.is_terminal:
        yield _log_lines()
        return
    # The search is never far ahead of the scoring, so another one counts what is still to come.
    with _counted_ahead(paths) as total, _bar(console) as bar:
        task = bar.add_task("scoring", total=None, done="", rates="")

        def show(tally: Tally, found: FoundCount) -> None:
            expected = found.inputs if found.finished else total()
            known = f"{expected:,}" if expected is not None else f"{found.inputs:,}+"
            completed = tally.files + found.kept
            done = f"{completed:,} of {known} files{_kept(found)}"
            bar.update(task, completed=completed, total=expected, done=done, rates=tally.rates)

        yield show


def _bar(console: Console) -> Progress:
    columns = (BarColumn(), TextColumn("{task.fields[done]}  {task.fields[rates]}  left"), TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True)


def _log_lines() -> Shown:
    last_s = time.monotonic()

    def show(tally: Tally, found: FoundCount) -> None:
        nonlocal last_s
        now_s = time.monotonic()
        if now_s - last_s < LOG_EVERY_S:
            return
        last_s = now_s
        of = f"of {found.inputs:,}" if found.finished else f"({found.inputs:,} found so far)"
        log.info("%s files %s done%s, %s", f"{tally.files + found.kept:,}", of, _kept(found), tally.rates)

    return show


def _kept(found: FoundCount) -> str:
    return f" ({found.kept:,} kept from before)" if found.kept else ""


@contextmanager
def _counted_ahead(paths: Sequence[str]) -> Iterator[Callable[[], int | None]]:
    """How many inputs there are, once that is known; counted in a thread."""
    over, totals = threading.Event(), list[int]()

    def count() -> None:
        finds = itertools.takewhile(lambda _: not over.is_set(), find(paths))
        total = sum(found.what == "input" for found in finds)
        totals.append(total)

    if not any(map(_is_read_once, paths)):
        threading.Thread(target=count, name="count", daemon=True).start()
    try:
        yield lambda: totals[0] if totals else None
    finally:
        over.set()


def _is_read_once(path: str) -> bool:
    """Stdin has no second time; lists, tables and stores cost as much as the first."""
    return path == STDIN or is_url(path) or path.lower().endswith((LIST_ENDING, *TABLE_ENDINGS))
