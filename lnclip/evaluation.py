"""What an evaluation writes: the layout of metrics.json, the same for a run and for a served engine.

Beside it lies predictions.parquet: one row per scored file.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from lnclip.index import Item
from lnclip.measurement import Measurement
from lnclip.metrics import Floats

PARAMETERS = {"jpeg": "quality", "blur": "sigma in px", "resize": "shortest side in px", "noise": "sigma"}
"""What a level of each distortion is."""


class RobustnessRow(TypedDict):
    """AUROC at one level of one distortion."""

    distortion: str
    level: float
    """Of ``PARAMETERS``."""

    frame: float
    """Mean over data sets."""

    video: float
    datasets: dict[str, dict[str, float]]
    """Name: frame and video."""


class Evaluation(TypedDict):
    """The content of metrics.json."""

    run: str
    """Folder of the run, or which server was asked."""

    artifact_id: str
    temperature: float | None
    """None where a server answered: it does not tell, but its artifact id stands for it too."""

    threshold: float
    confidence: float
    """Of the intervals, which rest on so many ``resamples`` of the videos."""

    resamples: int
    metrics: Measurement
    missing: dict[str, str]
    """Benchmark sets that are not on disk: why."""

    notes: list[str]
    """What a reader of the metrics must know about the files, those without a score first of all."""

    robustness: list[RobustnessRow]


def write_metrics(path: Path, evaluation: Evaluation) -> None:
    """Write metrics.json."""
    path.write_text(json.dumps(evaluation, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def prediction_columns(
    origins: Sequence[Path], items: Sequence[Item], p_fake: Floats
) -> dict[str, list[str] | NDArray[np.float64]]:
    """What predictions.parquet holds of N files, column by column; p_fake is float64.

    Args:
        origins: the index, list or folder that each was read from.
        items: the files.
        p_fake: (N,).
    """
    return {
        "index": [str(origin) for origin in origins],
        "path": [str(item.path) for item in items],
        **{name: [getattr(item, name) for item in items] for name in ("label", "video", "dataset", "source")},
        "p_fake": np.asarray(p_fake, np.float64),
    }
