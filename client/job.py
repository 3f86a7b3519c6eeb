"""One run of ``client score``: paths in, a result file and a summary out."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from client.async_scorer import AsyncScorer, ScoreOptions
from client.pipeline import Pipeline, WalkCount
from client.progress import Tally, show_progress
from client.writers import check_output, open_writer

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ScoreRun:
    """What is to be scored, and where the rows go."""

    paths: Sequence[Path]
    out: Path
    overwrite: bool = False
    url: str | None = None
    options: ScoreOptions = field(default_factory=ScoreOptions)


@dataclass(frozen=True, kw_only=True)
class Summary:
    """How a run went."""

    tally: Tally
    walked: WalkCount
    interrupted_by: int | None
    """The signal that ended it early."""

    @property
    def exit_status(self) -> int:
        """0 all scored, 1 some files failed, 128 + signal when interrupted."""
        if self.interrupted_by is not None:
            return 128 + self.interrupted_by
        return 1 if self.tally.errors else 0

    def describe(self, out: Path) -> str:
        """One line for people."""
        tally, walked = self.tally, self.walked
        codes = ", ".join(f"{number} {code}" for code, number in tally.codes.most_common(5))
        parts = [
            f"{tally.files} files in {tally.elapsed_s:.1f} s ({tally.faces} faces)",
            f"{tally.ok} ok, {tally.no_face} no_face, {tally.errors} error" + (f" ({codes})" if codes else ""),
        ]
        left_out = [
            (walked.skipped, "skipped: not images by ending or content"),
            (walked.duplicates, "found twice, scored once"),
        ]
        parts += [f"{number} {what}" for number, what in left_out if number]
        verb = "interrupted, the rest was not scored" if self.interrupted_by is not None else "scored"
        return f"{verb}: {'; '.join(parts)} -> {out}"


def score_paths(run: ScoreRun) -> Summary:
    """Score everything; a file that cannot be scored is a row with its error, never a gap.

    Raises:
        ConfigError: the result file cannot be written.
        ServerError: the server cannot be reached at the beginning; nothing was written then.
        SpecError: for crops: the encoder was trained for another spec.
    """
    check_output(run.out, overwrite=run.overwrite)
    return asyncio.run(_score(run))


async def _score(run: ScoreRun) -> Summary:
    async with AsyncScorer(run.url, run.options) as scorer:
        pipeline = scorer.pipeline(run.paths)
        tally = Tally()
        with (
            open_writer(run.out) as writer,
            show_progress(run.paths) as show,
            _drained_on_signal(scorer, pipeline) as signals,
        ):
            async for rows in pipeline.run():
                await asyncio.to_thread(writer.write, rows)
                tally.add(rows)
                show(tally, pipeline.count)
    return Summary(tally=tally, walked=pipeline.count, interrupted_by=signals[0] if signals else None)


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
