import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lnclip.encoder import load_run
from lnclip.errors import ConfigError
from lnclip.metrics import auroc
from lnclip.preprocess import normalise
from training.evaluation import evaluate, score_crops
from training.index import read_index


def test_scores_are_the_networks_softmax_at_the_runs_temperature(random_run: Path, crops_index: Path) -> None:
    artifact, encoder = load_run(random_run)
    paths = [item.path for item in read_index(crops_index, "crop")][:3]
    identity = artifact.identity.model_copy(update={"temperature": 2.0})
    crops = np.stack([np.asarray(Image.open(path)) for path in paths])
    with torch.inference_mode():
        logits = encoder(torch.from_numpy(normalise(crops, identity.spec))).logits.double().numpy()
    by_hand = 1 / (1 + np.exp((logits[:, 0] - logits[:, 1]) / 2))
    np.testing.assert_allclose(score_crops(encoder, identity, paths), by_hand, atol=1e-6)


def test_metrics_follow_from_the_predictions_it_writes(random_run: Path, crops_index: Path, tmp_path: Path) -> None:
    metrics = evaluate(random_run, [crops_index], tmp_path / "out")
    with (tmp_path / "out" / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 48
    is_fake = np.array([row["label"] == "fake" for row in rows], int)
    p_fake = np.array([float(row["p_fake"]) for row in rows])
    assert metrics[str(crops_index)]["auroc"] == auroc(is_fake, p_fake)
    written = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert written["frame"] == metrics
    assert written["artifact_id"] == load_run(random_run)[0].identity.artifact_id.hex


def test_several_indices_are_also_pooled(random_run: Path, crops_index: Path, tmp_path: Path) -> None:
    half = crops_index.parent / "half.csv"
    half.write_text("\n".join(crops_index.read_text().splitlines()[:21]) + "\n")
    metrics = evaluate(random_run, [crops_index, half], tmp_path)
    assert [found["num_real"] for found in metrics.values()] == [24, 10, 34]
    assert list(metrics) == [str(crops_index), str(half), "all"]
    with pytest.raises(ConfigError, match="an --index is given twice"):
        evaluate(random_run, [half, half], tmp_path)
