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
from pathlib import Path
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from client.pipeline import WalkCount
from client.rows import Row
from client.walking import walk

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
    """Called whenever rows are there."""

    def __call__(self, tally: Tally, walked: WalkCount) -> None:
        """Show where things stand."""
        ...


@contextmanager
def show_progress(paths: Sequence[Path], console: Console | None = None) -> Iterator[Shown]:
    """A bar when stderr is a terminal, else log lines; it is gone at the end."""
    console = console or Console(stderr=True)
    if not console.is_terminal:
        yield _log_lines()
        return
    # The scoring walk is never far ahead of the scoring, so another one counts what is still to come.
    with _counted_ahead(paths) as total, _bar(console) as bar:
        task = bar.add_task("scoring", total=None, done="", rates="")

        def show(tally: Tally, walked: WalkCount) -> None:
            expected = walked.files if walked.finished else total()
            known = f"{expected}" if expected is not None else f"{walked.files}+"
            bar.update(
                task, completed=tally.files, total=expected, done=f"{tally.files} of {known} files", rates=tally.rates
            )

        yield show


def _bar(console: Console) -> Progress:
    columns = (BarColumn(), TextColumn("{task.fields[done]}  {task.fields[rates]}  left"), TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True)


def _log_lines() -> Shown:
    last_s = time.monotonic()

    def show(tally: Tally, walked: WalkCount) -> None:
        nonlocal last_s
        now_s = time.monotonic()
        if now_s - last_s < LOG_EVERY_S:
            return
        last_s = now_s
        of = f"of {walked.files}" if walked.finished else f"({walked.files} found so far)"
        log.info("%d files %s scored, %s", tally.files, of, tally.rates)

    return show


@contextmanager
def _counted_ahead(paths: Sequence[Path]) -> Iterator[Callable[[], int | None]]:
    """How many files there are, once that is known; counted in a thread."""
    over, totals = threading.Event(), list[int]()

    def count() -> None:
        finds = itertools.takewhile(lambda _: not over.is_set(), walk(paths))
        total = sum(found.what in ("file", "folder") for found in finds)
        totals.append(total)

    threading.Thread(target=count, name="count", daemon=True).start()
    try:
        yield lambda: totals[0] if totals else None
    finally:
        over.set()
