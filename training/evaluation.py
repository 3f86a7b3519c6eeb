"""Scores of labelled crops by the network in torch, and their metrics."""

from __future__ import annotations

import csv
import json
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from lnclip.artifact import Identity
from lnclip.encoder import FaceEncoder, class_column, load_run
from lnclip.errors import ConfigError
from lnclip.metrics import report
from lnclip.preprocess import normalise
from training.crops import read_crop
from training.index import Item, read_index

log = logging.getLogger(__name__)

BATCH_SIZE = 64


def score_crops(encoder: FaceEncoder, identity: Identity, paths: Sequence[Path]) -> NDArray[np.float64]:
    """Calibrated p_fake of each crop file, (N,), in fp32 without augmentation.

    Raises:
        ConfigError: a crop cannot be read.
    """
    device = next(encoder.parameters()).device
    fake, scores = class_column(identity, "fake"), []
    with torch.inference_mode():
        for first in range(0, len(paths), BATCH_SIZE):
            crops = np.stack([read_crop(path, identity.spec) for path in paths[first : first + BATCH_SIZE]])
            logits = encoder(torch.from_numpy(normalise(crops, identity.spec)).to(device)).logits
            scores.append(torch.softmax(logits.double() / identity.temperature, dim=1)[:, fake].cpu().numpy())
    return np.concatenate(scores)


def evaluate(run: Path, indices: Sequence[Path], out: Path) -> dict[str, dict[str, object]]:
    """Score crops frame by frame; write ``out``/metrics.json and ``out``/predictions.csv.

    Returns:
        Metrics by index file, and of all together under "all" when there are several.

    Raises:
        ConfigError: an index or crop cannot be used, or an index has one class only.
        ArtifactError: the run is damaged.
    """
    artifact, encoder = load_run(run)
    items = {str(index): read_index(index, "crop") for index in indices}
    if len(items) < len(indices):
        raise ConfigError("an --index is given twice; name each once")
    scores = {
        name: score_crops(encoder, artifact.identity, [item.path for item in rows]) for name, rows in items.items()
    }
    metrics = {name: _metrics(rows, scores[name]) for name, rows in items.items()}
    if len(items) > 1:
        pooled = [item for rows in items.values() for item in rows]
        metrics["all"] = _metrics(pooled, np.concatenate([*scores.values()]))

    out.mkdir(parents=True, exist_ok=True)
    answer = {"run": str(run), "artifact_id": artifact.identity.artifact_id.hex, "frame": metrics}
    (out / "metrics.json").write_text(json.dumps(answer, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    with (out / "predictions.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("index", "path", "label", "video", "dataset", "source", "p_fake"))
        for name, rows in items.items():
            for item, score in zip(rows, scores[name].tolist(), strict=True):
                writer.writerow((name, item.path, item.label, item.video, item.dataset, item.source, score))
    return metrics


def _metrics(items: Sequence[Item], scores: NDArray[np.float64]) -> dict[str, object]:
    return report(np.array([item.label == "fake" for item in items], np.int64), scores)._asdict()
