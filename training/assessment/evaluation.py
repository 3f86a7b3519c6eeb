"""Evaluate: a run and labelled crops in; metrics, predictions and plots out."""

from __future__ import annotations

import csv
import logging
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from lnclip.encoder import load_run
from lnclip.errors import ConfigError
from lnclip.evaluation import Evaluation, prediction_columns, write_metrics
from lnclip.index import Item
from lnclip.measurement import measure_sets
from lnclip.metrics import CONFIDENCE, RESAMPLES
from training.assessment.benchmark_sets import find_benchmarks, read_benchmarks
from training.assessment.plots import plot_distributions, plot_robustness, plot_roc
from training.assessment.robustness import measure_robustness
from training.assessment.scoring import score_items, workers_for
from training.data.checking import readable
from training.data.listing import read_items

log = logging.getLogger(__name__)

MAX_UNREADABLE = 0.01
"""Share of crops that may be damaged: they are listed and left out."""


class Crops(NamedTuple):
    """What is evaluated."""

    items: dict[Path, list[Item]]
    """By the index, list or folder that they were read from."""

    uncounted: frozenset[str]
    """Data sets that count in no mean."""

    missing: dict[str, str]
    """Benchmark sets that are not on disk: why."""

    notes: list[str]
    """What a reader of the metrics must know about the crops."""


def evaluate(
    run: Path,
    sources: Sequence[Path],
    out: Path,
    *,
    benchmarks: Path | None = None,
    labels: Path | None = None,
    robustness: bool = False,
) -> Evaluation:
    """Score crops and videos; write ``out``/metrics.json, predictions.parquet, roc.png and scores.png.

    Args:
        run: folder of a run; its own threshold is used, never one fitted here.
        sources: CSV indices, path lists or folder trees of crops.
        out: made if need be.
        benchmarks: folder of data sets to look for those of configs/benchmarks.toml in.
        labels: TOML of labels by source, for lists and trees in ``sources``.
        robustness: again under each distortion; writes robustness.png as well.

    Raises:
        ConfigError: there are no crops, an index cannot be used, too many crops are damaged, a
            video has both labels, or no data set has both classes.
        ArtifactError: the run is damaged.
    """
    artifact, encoder = load_run(run)
    identity = artifact.identity
    crops = _gather(sources, benchmarks, labels)
    out.mkdir(parents=True, exist_ok=True)
    workers = workers_for(sum(map(len, crops.items.values())))
    origins, items = _leave_out_damaged(crops, out / "unreadable.csv", max(1, workers))
    encoder.to("cuda" if torch.cuda.is_available() else "cpu")
    log.info("%d crops on %s", len(items), next(encoder.parameters()).device)
    p_fake = score_items(encoder, identity, items, workers)
    pq.write_table(pa.table(prediction_columns(origins, items, p_fake)), out / "predictions.parquet")
    metrics = measure_sets(items, p_fake, identity.threshold, crops.uncounted)
    answer = Evaluation(
        run=str(run),
        artifact_id=identity.artifact_id.hex,
        temperature=identity.temperature,
        threshold=identity.threshold,
        confidence=CONFIDENCE,
        resamples=RESAMPLES,
        metrics=metrics,
        missing=crops.missing,
        notes=crops.notes,
        robustness=[],
    )
    plot_roc(out / "roc.png", items, p_fake, metrics)
    plot_distributions(out / "scores.png", items, p_fake, identity.threshold)
    write_metrics(out / "metrics.json", answer)
    if robustness:  # takes eighteen times as long: what is known by now is written already
        measurable = [name for name, found in metrics["datasets"].items() if not found["not_measurable"]]
        counted = metrics["mean"]["of"] or measurable
        answer["robustness"] = measure_robustness(encoder, identity, items, counted, workers)
        plot_robustness(out / "robustness.png", answer["robustness"])
        write_metrics(out / "metrics.json", answer)
    return answer


def _leave_out_damaged(crops: Crops, report: Path, workers: int) -> tuple[Sequence[Path], Sequence[Item]]:
    """Every crop that can be decoded and where it was read from; adds a note of the others."""
    given = [(origin, item) for origin, items in crops.items.items() for item in items]
    kept = set(readable([item for _, item in given], MAX_UNREADABLE, report, workers))
    origins, items = zip(*((origin, item) for origin, item in given if item in kept), strict=True)
    if len(items) < len(given):
        crops.notes.append(f"{len(given) - len(items)} crops cannot be read and have no score: {report}")
    return origins, items


def _gather(sources: Sequence[Path], benchmarks: Path | None, labels: Path | None) -> Crops:
    """Everything that shall be scored.

    Raises:
        ConfigError: there is nothing, or something of it cannot be used.
    """
    if not sources and benchmarks is None:
        raise ConfigError("there is nothing to evaluate: give --index, or --benchmarks, or both")
    crops, first = Crops({}, frozenset(), {}, []), dict[tuple[str, str], Item]()
    for source in sources:
        items = read_items([source], "crop", labels)
        # A data set may share crops with another (reals, often), and has each of its own once.
        chosen = [item for item in items if _first(item, first) is item]
        crops.items.setdefault(source, []).extend(chosen)
        if len(chosen) < len(items):
            crops.notes.append(f"{source}: {len(items) - len(chosen)} crops were given before and count once")
    if benchmarks:
        found = find_benchmarks(benchmarks, read_benchmarks())
        crops = Crops(crops.items | found.items, found.uncounted, found.missing, found.notes)
    for origin in crops.items:
        crops.notes.extend(_without_crop(origin))
    return crops


def _first(item: Item, first: dict[tuple[str, str], Item]) -> Item:
    """The item of this file and data set that came first."""
    found = first.setdefault((os.path.abspath(item.path), item.dataset), item)  # noqa: PTH100 - keeps links
    if found.label != item.label:
        raise ConfigError(f"{item.path} is given as {found.label} and as {item.label}; take one out")
    return found


def _without_crop(index: Path) -> list[str]:
    """A note of the videos and images that have no crop, where ``prepare`` left its report beside the index."""
    report = (index if index.is_dir() else index.parent) / "report.csv"
    if not report.exists():
        return []
    with report.open(newline="", encoding="utf-8", errors="replace") as file:
        rows = [row for row in csv.DictReader(file) if "status" in row]
    lost = Counter(row["status"] for row in rows if row["status"] != "ok")
    how = ", ".join(f"{count} {status}" for status, count in sorted(lost.items()))
    return [f"{index}: {lost.total()} of {len(rows)} videos and images have no crop ({how}): {report}"] if lost else []
