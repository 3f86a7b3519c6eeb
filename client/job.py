"""One run of ``client score``: paths in, a result file and a summary out."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from client.async_scorer import AsyncScorer
from client.journal import Journal, open_journal
from client.options import ScoreOptions
from client.pipeline import FoundCount, Pipeline
from client.progress import Tally, show_progress
from client.rows import Row
from client.sources.finding import check_sources, find
from client.writers import check_output
from lnclip.errors import ConfigError

log = logging.getLogger(__name__)

WRITE_AFTER_S = 0.05
"""What a killed client had scored so shortly before is scored again."""


@dataclass(frozen=True, kw_only=True)
class ScoreRun:
    """What is to be scored, and where the rows go."""

    paths: Sequence[str]
    """Whatever ``client.sources.finding.find`` takes."""

    out: Path
    resume: bool = False
    """Go on with an earlier run's rows; see ``client.journal``."""

    overwrite: bool = False
    path_column: str = "path"
    """Of tables among the paths."""

    urls: Sequence[str] | None = None
    """gRPC addresses; None is the server that runs from the working directory."""

    options: ScoreOptions = field(default_factory=ScoreOptions)


@dataclass(frozen=True, kw_only=True)
class Summary:
    """How a run went."""

    tally: Tally
    """What this run scored."""

    found: FoundCount
    outcomes: Counter[str]
    """Of the rows of the result, those that were kept included: ``ok``, ``no_face``, or an error's code."""

    interrupted_by: int | None = None
    """The signal that ended it early."""

    @property
    def exit_status(self) -> int:
        """0 all scored, 1 some files failed, 128 + signal when interrupted."""
        if self.interrupted_by is not None:
            return 128 + self.interrupted_by
        return 1 if self._errors else 0

    def describe(self, out: Path) -> str:
        """One line for people."""
        tally, found, codes = self.tally, self.found, self._errors
        worst = ", ".join(f"{number:,} {code}" for code, number in codes.most_common(5))
        kept = f", {found.kept:,} kept from before" if found.kept else ""
        parts = [
            f"{tally.files:,} files in {tally.elapsed_s:.1f} s ({tally.faces:,} faces){kept}",
            f"{self.outcomes['ok']:,} ok, {self.outcomes['no_face']:,} no_face, {codes.total():,} error"
            + (f" ({worst})" if worst else ""),
        ]
        left_out = [
            (found.skipped, "skipped: neither images nor videos by ending or content"),
            (found.duplicates, "found twice, scored once"),
        ]
        parts += [f"{number:,} {what}" for number, what in left_out if number]
        if self.interrupted_by is None:
            return f"scored: {'; '.join(parts)} -> {out}"
        return f"interrupted, the rest was not scored (--resume goes on): {'; '.join(parts)} -> {out}"

    @property
    def _errors(self) -> Counter[str]:
        return Counter({code: n for code, n in self.outcomes.items() if code not in ("ok", "no_face")})


def score_paths(run: ScoreRun) -> Summary:
    """Score everything; an input that cannot be scored is a row with its error, never a gap.

    Raises:
        ConfigError: the result cannot be written, or what is there cannot be resumed; or an input list is wrong.
        ServerError: no server can be reached at the beginning; nothing was written then.
        SpecError: for crops: the encoder was trained for another spec.
    """
    if run.resume and run.overwrite:
        raise ConfigError("--resume keeps what is there and --overwrite does not: give one of them")
    check_output(run.out, may_exist=run.resume or run.overwrite)
    check_sources(run.paths, path_column=run.path_column)
    return asyncio.run(_score(run))


async def _score(run: ScoreRun) -> Summary:
    async with AsyncScorer(run.urls, run.options) as scorer:
        with open_journal(run.out, run.options.deciding(), resume=run.resume, overwrite=run.overwrite) as journal:
            pipeline = Pipeline(
                find(run.paths, path_column=run.path_column),
                scorer.score_found,
                limit=scorer.limit,
                chunk_size=scorer.chunk_size,
                recall=journal.index.recall,
            )
            tally = Tally()
            with _drained_on_signal(scorer, pipeline) as signals, show_progress(run.paths) as show:
                async with _Recorder(journal) as recorder:
                    async for rows in pipeline.run():
                        recorder.add(rows)
                        tally.add(rows)
                        show(tally, pipeline.count)
            outcomes = journal.write_result(finished=not signals)
    return Summary(tally=tally, found=pipeline.count, outcomes=outcomes, interrupted_by=signals[0] if signals else None)


class _Recorder:
    """Hands rows to the journal in a thread, those of a moment together: a write for each costs more than its row."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._rows: list[Row] = []
        self._writing: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Write what is left, however the run ended.

        Raises:
            ConfigError: the journal cannot be written.
        """
        if self._writing is not None:
            await self._writing
        await self._write()

    def add(self, rows: Sequence[Row]) -> None:
        """Keep them, and write within ``WRITE_AFTER_S``.

        Raises:
            ConfigError: the journal could not be written.
        """
        self._rows.extend(rows)
        if self._writing is not None and self._writing.done():
            self._writing.result()
            self._writing = None
        if self._rows and self._writing is None:
            self._writing = asyncio.create_task(self._write_soon())

    async def _write_soon(self) -> None:
        while self._rows:
            await asyncio.sleep(WRITE_AFTER_S)
            await self._write()

    async def _write(self) -> None:
        rows, self._rows = self._rows, []
        if rows:
            await asyncio.to_thread(self._journal.append, rows)


@contextmanager
def _drained_on_signal(scorer: AsyncScorer, pipeline: Pipeline) -> Iterator[list[int]]:
    """The first Ctrl-C or SIGTERM waits for what is in flight, the second does not wait."""
    loop, seen = asyncio.get_running_loop(), list[int]()
    handled = (signal.SIGINT, signal.SIGTERM)

    def begin_to_end(number: int) -> None:
        seen.append(number)
        log.warning("interrupted: finishing what is in flight; once more to leave it")
        pipeline.stop()
        scorer.stop_retrying()
        for each in handled:
            loop.remove_signal_handler(each)

    for number in handled:
        loop.add_signal_handler(number, begin_to_end, number)
    try:
        yield seen
    finally:
        for number in handled:
            loop.remove_signal_handler(number)
