"""Two evaluations side by side: a served engine's with that of the run it was made from.

Reads what ``python -m training evaluate`` and ``python -m client evaluate`` write.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ValidationError

from lnclip.errors import ConfigError
from lnclip.evaluation_table import COLUMN, HEADINGS

LEVELS: tuple[Literal["video", "frame"], ...] = ("video", "frame")


class _Estimate(BaseModel):
    value: float


class _Set(BaseModel):
    video: dict[str, _Estimate]
    frame: dict[str, _Estimate]


class _Measured(BaseModel):
    datasets: dict[str, _Set]
    mean: _Set


class _Evaluation(BaseModel):
    """What is compared of a metrics.json."""

    run: str
    artifact_id: str
    temperature: float | None
    threshold: float
    metrics: _Measured


class Prediction(NamedTuple):
    """One row of predictions.parquet."""

    path: str
    """Absolute."""

    listed: tuple[str, str]
    """Data set, and path relative to the index: the same when a folder was moved, or copied to another machine."""

    label: str
    p_fake: float


def compare(here: Path, there: Path) -> str:
    """A table of differences, in plain text.

    Args:
        here: folder of the one evaluation.
        there: folder of the other, or its metrics.json; its predictions.parquet is used where there is one.

    Raises:
        ConfigError: either cannot be read, or they have no file in common.
    """
    ours, theirs = _read_metrics(here), _read_metrics(there)
    lines = [f"compared with {theirs.run} ({there})", *_describe(ours, theirs), ""]
    names = [name for name in ours.metrics.datasets if name in theirs.metrics.datasets]
    for level in LEVELS:
        lines += _level(level, names, ours.metrics, theirs.metrics)
    only = set(ours.metrics.datasets) ^ set(theirs.metrics.datasets)
    if only:
        lines.append(f"in one of the two only: {', '.join(sorted(only))}")
    return "\n".join([*lines, *_differences(here, there, ours.threshold, theirs.threshold)])


def _read_metrics(place: Path) -> _Evaluation:
    path = place / "metrics.json" if place.is_dir() else place
    try:
        return _Evaluation.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read: {error.strerror}; --against is a folder of: python -m training evaluate"
        ) from error
    except ValidationError as error:
        raise ConfigError(f"{path} is not a metrics.json of an evaluation: {error.errors()[0]['msg']}") from error


def _describe(ours: _Evaluation, theirs: _Evaluation) -> list[str]:
    """What says whether the two should agree."""
    if ours.artifact_id == theirs.artifact_id:
        return [f"both are artifact {ours.artifact_id}: the same weights, temperature, threshold and precision"]
    lines = [
        f"other artifacts: here {ours.artifact_id}, there {theirs.artifact_id} (weights, preprocessing, calibration "
        "or precision differ)"
    ]
    if np.float32(ours.threshold) != np.float32(theirs.threshold):
        lines.append(f"other thresholds: here {ours.threshold:.6g}, there {theirs.threshold:.6g}")
    if ours.temperature != theirs.temperature:
        told = [f"{one:.6g}" if one else "not told" for one in (ours.temperature, theirs.temperature)]
        lines.append(f"temperatures: here {told[0]}, there {told[1]}")
    return lines


def _level(level: Literal["video", "frame"], names: Sequence[str], ours: _Measured, theirs: _Measured) -> list[str]:
    """Three lines for each data set that both have measured."""
    pairs = {name: (ours.datasets[name], theirs.datasets[name]) for name in names}
    if len(ours.datasets) > 1 and ours.datasets.keys() == theirs.datasets.keys():
        pairs["mean"] = (ours.mean, theirs.mean)
    width = max(map(len, (*pairs, "data set"))) + 2
    lines = [f"{level} level, %", f"{'data set':{width}}{'':10}" + "".join(f"{h:>{COLUMN}}" for h in HEADINGS.values())]
    for name, (here, there) in pairs.items():
        left, right = ({key: one.value for key, one in getattr(side, level).items()} for side in (here, there))
        if not (left and right):
            lines.append(f"{name:{width}}not measurable in both")
            continue
        gaps = {key: left[key] - right[key] for key in HEADINGS}
        lines += [
            f"{name:{width}}{'here':10}{_numbers(left, '')}",
            f"{'':{width}}{'there':10}{_numbers(right, '')}",
            f"{'':{width}}{'difference':10}{_numbers(gaps, '+')}",
        ]
    return [*lines, ""]


def _numbers(values: Mapping[str, float], sign: Literal["", "+"]) -> str:
    digits = 2 if sign else 1
    return "".join(f"{100 * values[key]:>{sign}{COLUMN}.{digits}f}" for key in HEADINGS)


def _differences(here: Path, there: Path, threshold: float, other_threshold: float) -> list[str]:
    """How far the scores of the files are apart that both have."""
    folder = there if there.is_dir() else there.parent
    if not (folder / "predictions.parquet").exists():
        return [f"{folder} has no predictions.parquet: files are not compared one by one"]
    ours, theirs = _read_predictions(here), _read_predictions(folder)
    pairs = _pair(ours, theirs)
    if not pairs:
        raise ConfigError(
            f"no file is in both evaluations: here {ours[0].path}, there {theirs[0].path}; --against needs one of the "
            "same index (crops with crops, images with images)"
        )
    gaps = np.abs([left.p_fake - right.p_fake for left, right in pairs])
    worst = int(gaps.argmax())
    changed = sum((left.p_fake >= threshold) != (right.p_fake >= other_threshold) for left, right in pairs)
    relabelled = sum(left.label != right.label for left, right in pairs)
    lines = [
        f"{len(pairs)} files are in both ({len(ours)} scored here, {len(theirs)} there)",
        f"|dp| worst {gaps[worst]:.2g} at {pairs[worst][0].path}, mean {gaps.mean():.2g}",
        f"verdicts that differ: {changed} of {len(pairs)}",
    ]
    if relabelled:
        lines.append(f"labels that differ: {relabelled} of {len(pairs)}: the metrics are not comparable")
    return lines


def _read_predictions(folder: Path) -> list[Prediction]:
    path = folder / "predictions.parquet"
    try:
        rows = pq.read_table(path, columns=["index", "path", "label", "dataset", "p_fake"]).to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise ConfigError(f"{path} is not the predictions of an evaluation: {error}") from error
    return [
        Prediction(
            os.path.abspath(row["path"]),  # noqa: PTH100 - keeps links
            (row["dataset"], os.path.relpath(row["path"], _folder_of(row["index"]))),
            row["label"],
            row["p_fake"],
        )
        for row in rows
    ]


def _folder_of(index: str) -> str:
    """Paths were listed relative to the CSV's folder, or below a folder that was given itself."""
    return os.path.dirname(index) if Path(index).suffix else index  # noqa: PTH120 - "" is the working directory


def _pair(ours: Sequence[Prediction], theirs: Sequence[Prediction]) -> list[tuple[Prediction, Prediction]]:
    """The files of both: by their paths, or, when no path is in both, by where they are listed."""
    for key in (lambda one: (one.listed[0], one.path), lambda one: one.listed):
        left, right = _unique(map(key, ours), ours), _unique(map(key, theirs), theirs)
        pairs = [(one, right[name]) for name, one in left.items() if name in right]
        if pairs:
            return pairs
    return []


def _unique(keys: Iterable[tuple[str, str]], predictions: Sequence[Prediction]) -> dict[tuple[str, str], Prediction]:
    """By key; those that share one are left out."""
    by_key = list(zip(keys, predictions, strict=True))
    counts = Counter(key for key, _ in by_key)
    return {key: one for key, one in by_key if counts[key] == 1}
