"""Evaluate a deployment: a labelled index scored by whoever serves, measured as training measures a run.

Writes what ``python -m training evaluate`` writes, metrics.json and predictions.parquet, and
unscored.csv: a file without a score is in no metric, and is listed. Legend: N files of the index.
"""

from __future__ import annotations

import asyncio
import csv
import logging
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from client.answers import short_float
from client.async_scorer import AsyncScorer
from client.comparison import compare
from client.options import ScoreOptions
from client.pipeline import Pipeline
from client.rows import Row
from client.sources.finding import Found
from client.ways import addresses
from lnclip.errors import ConfigError, ServerError
from lnclip.evaluation import Evaluation, prediction_columns, write_metrics
from lnclip.evaluation_table import summary
from lnclip.index import Item, read_index
from lnclip.measurement import measure_sets
from lnclip.metrics import CONFIDENCE, RESAMPLES
from lnclip.pooling import clip_numbers

log = logging.getLogger(__name__)

MAX_FAILED = 0.01
"""Share of files that may end in an error, as in training's evaluation."""

LOG_EVERY_S = 30.0


class Model(NamedTuple):
    """What decides a score, as far as an answer says it."""

    name: str
    artifact_id: str
    threshold: float


class Outcome(NamedTuple):
    """What became of one file; rows themselves are too large to be kept."""

    p_fake: float | None
    reason: str
    """Why it has no score: no_face, or the error's code and message."""

    model: Model | None


def evaluate(index: Path, out: Path, *, urls: Sequence[str] | None, against: Path | None, options: ScoreOptions) -> str:
    """Score every file of an index and measure; write ``out``/metrics.json, predictions.parquet, unscored.csv.

    Crops go straight to the encoder, images through the detector; a video's score is its row's. The
    threshold is the served one.

    Args:
        index: CSV of labelled crops, images and videos, mixed as one likes.
        out: made if need be.
        urls: gRPC addresses; None is the server that runs from the working directory.
        against: folder or metrics.json of another evaluation to compare with, a run's for example.
        options: how to score.

    Returns:
        The metrics as a table, and the comparison.

    Raises:
        ConfigError: the index cannot be used, too many files have errors, no data set has both
            classes, or ``against`` is no evaluation.
        ServerError: nobody answers, or the served model was replaced meanwhile.
        SpecError: the encoder expects other crops.
    """
    items = read_index(index, "crop", "image", "video")
    if against and against.resolve() in (out.resolve(), (out / "metrics.json").resolve()):
        raise ConfigError(f"--out {out} would overwrite what --against names; give another folder")
    out.mkdir(parents=True, exist_ok=True)
    outcomes = asyncio.run(_score(items, urls, options))
    scored = [place for place, outcome in enumerate(outcomes) if outcome.p_fake is not None]
    (out / "metrics.json").unlink(missing_ok=True)  # of an earlier evaluation: it goes with other predictions
    unscored = _write_unscored(out / "unscored.csv", items, outcomes)
    kept, p_fake = [items[place] for place in scored], np.array([outcomes[place].p_fake for place in scored], float)
    pq.write_table(pa.table(prediction_columns([index] * len(kept), kept, p_fake)), out / "predictions.parquet")
    _refuse_failures(outcomes, unscored)
    model = _the_model(outcomes)
    where = str(options.repository) if options.way == "local" else ", ".join(addresses(urls))
    evaluation = Evaluation(
        run=f"{model.name or 'the model'} at {where}",
        artifact_id=model.artifact_id,
        temperature=None,
        threshold=model.threshold,
        confidence=CONFIDENCE,
        resamples=RESAMPLES,
        metrics=measure_sets(kept, p_fake, model.threshold),
        missing={},
        notes=[*_lost(items, outcomes, unscored), *_ways(items, options)],
        robustness=[],
    )
    write_metrics(out / "metrics.json", evaluation)
    log.info("%s and predictions.parquet beside it are written", out / "metrics.json")
    table = summary(evaluation)
    return f"{table}\n\n{compare(out, against)}" if against else table


async def _score(items: Sequence[Item], urls: Sequence[str] | None, options: ScoreOptions) -> list[Outcome]:
    """Each file's outcome, (N,), in the order of the index."""
    outcomes: dict[int, Outcome] = {}
    last = time.monotonic()
    for crops in (True, False):
        # The place travels with the row: paths may be links to one file, and come back printable.
        finds = [
            Found(str(item.path), "input", {"place": place})
            for place, item in enumerate(items)
            if (item.kind == "crop") is crops
        ]
        if not finds:
            continue
        async with AsyncScorer(urls, replace(options, crops=crops)) as scorer:
            pipeline = Pipeline(iter(finds), scorer.score_found, limit=scorer.limit, chunk_size=scorer.chunk_size)
            async for rows in pipeline.run():
                outcomes.update((int(str(row.columns["place"])), _outcome(row)) for row in rows)
                if time.monotonic() - last > LOG_EVERY_S:
                    last = time.monotonic()
                    log.info("%d of %d files scored", len(outcomes), len(items))
    return [outcomes[place] for place in range(len(items))]


def _outcome(row: Row) -> Outcome:
    reason = "no_face" if row.status == "no_face" else f"{row.error.code}: {row.error.message}" if row.error else ""
    if row.model is None:
        return Outcome(row.p_fake, reason, None)
    threshold = short_float(np.float32(str(row.model["threshold"])))  # as the verdict saw it, whoever told it
    model = Model(str(row.model.get("name", "")), str(row.model["artifact_id"]), threshold)
    return Outcome(row.p_fake, reason, model)


def _the_model(outcomes: Sequence[Outcome]) -> Model:
    """The one that answered; ready crops do not name it.

    Raises:
        ServerError: two did.
    """
    models = {outcome.model for outcome in outcomes if outcome.model}
    ids = sorted({model.artifact_id for model in models})
    if len(ids) > 1:
        raise ServerError(f"the served model changed meanwhile ({', '.join(ids)} answered): evaluate again")
    return max(models, key=lambda model: model.name)


def _write_unscored(path: Path, items: Sequence[Item], outcomes: Sequence[Outcome]) -> Path:
    """Every file without a score and why; no file when there is none."""
    rows = [(item, outcome) for item, outcome in zip(items, outcomes, strict=True) if outcome.p_fake is None]
    path.unlink(missing_ok=True)
    if rows:
        with path.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(("path", "label", "video", "dataset", "source", "kind", "reason"))
            for item, outcome in rows:
                writer.writerow((item.path, *item[1:5], item.kind, outcome.reason))
    return path


def _refuse_failures(outcomes: Sequence[Outcome], unscored: Path) -> None:
    """No face is an answer; errors beyond ``MAX_FAILED`` leave another set than the one asked about."""
    failed = [outcome.reason for outcome in outcomes if outcome.p_fake is None and outcome.reason != "no_face"]
    if len(failed) > MAX_FAILED * len(outcomes):
        raise ConfigError(
            f"{len(failed)} of {len(outcomes)} files have no score, the first: {failed[0]}; at most "
            f"{MAX_FAILED:.0%} may fail, for the metrics would be another set's: {unscored} lists them"
        )
    if all(outcome.p_fake is None for outcome in outcomes):
        raise ConfigError(f"none of the {len(outcomes)} files has a face: there is nothing to measure; {unscored}")


def _lost(items: Sequence[Item], outcomes: Sequence[Outcome], unscored: Path) -> list[str]:
    """A note of what has no score, and how that counts."""
    counts = Counter(
        ("no face" if outcome.reason == "no_face" else "error", item.label)
        for item, outcome in zip(items, outcomes, strict=True)
        if outcome.p_fake is None
    )
    if not counts:
        return []
    numbers, first = clip_numbers(items)
    seen = {number for number, outcome in zip(numbers.tolist(), outcomes, strict=True) if outcome.p_fake is not None}
    how = ", ".join(f"{count} {label} with {why}" for (why, label), count in sorted(counts.items()))
    return [
        f"{counts.total()} of {len(items)} files have no score ({how}), so {len(first) - len(seen)} of {len(first)} "
        f"videos have none either: they count in no metric, neither right nor wrong; {unscored} lists them"
    ]


def _ways(items: Sequence[Item], options: ScoreOptions) -> list[str]:
    """Notes of what is no crop: faces are found anew, so other crops are scored than a run's evaluation has."""
    kinds = Counter(item.kind for item in items)
    notes = []
    if kinds["image"]:
        notes.append(f"{kinds['image']} images: faces were found and cut by the server, one score for an image")
    if kinds["video"]:
        rule = options.video.rule
        notes.append(f"{kinds['video']} videos: one score for a video (rule {rule}), in the frame level too")
    return notes
