"""Does it learn, and from what it should? Media to crops to weights to scores, at small scale."""

from pathlib import Path

import numpy as np
import pytest

from lnclip.encoder import load_run
from lnclip.index import read_index
from lnclip.metrics import auroc
from training.assessment.scoring import score_items
from training.config import TrainConfig
from training.data.blending import Recipe
from training.data.demo_data import KNOWN, Split, write_demo_data
from training.data.preparation import prepare
from training.fitting import fit

SPLITS = (Split("train", KNOWN, 60), Split("test", KNOWN, 40))
STRONG = Recipe(colour_levels=(40, 60))
"""The demo's 20 to 40 take longer to learn than a test may."""


def auroc_of(crops: Path, out: Path, *, shuffle_labels: bool) -> float:
    settings = {
        "train_index": crops / "train" / "index.csv",
        "tune": "full",
        "epochs": 22,
        "batch_size": 32,
        "pairs_together": True,
        "learning_rate": 5e-4,
        "warmup_epochs": 2,
        "weight_decay": 0.05,
        "in_memory": True,
        "spec": {"input_px": 128},
        "augmentation": {
            "rotate_deg": 5,
            "shift": 0.03,
            "zoom": 0.05,
            "interpolation": "bilinear",
            "blur": 0,
            "jpeg": 0,
        },
        "shuffle_labels": shuffle_labels,
    }
    fit(TrainConfig.model_validate(settings), out)
    artifact, encoder = load_run(out)
    items = read_index(crops / "test" / "index.csv", "crop")
    return auroc(np.array([item.label == "fake" for item in items]), score_items(encoder, artifact.identity, items))


@pytest.mark.slow
def test_learns_self_blending_and_shuffled_labels_teach_nothing(tmp_path: Path, detector_folder: Path) -> None:
    """About a minute on 2 cores. The test split is new blends of the training photographs.

    With labels that say nothing, 80 + 80 scores give 0.5 with a standard deviation of 0.046 (three of them:
    0.14); twins are alike, which makes it smaller. More than that would mean that the test, not
    the labels, tells the answer.
    """
    write_demo_data(tmp_path, detector_folder, 0, SPLITS, STRONG)
    for split in SPLITS:
        prepare([tmp_path / f"{split.name}.csv"], None, tmp_path / "crops" / split.name, detector_folder)
    learnt = auroc_of(tmp_path / "crops", tmp_path / "learnt", shuffle_labels=False)
    control = auroc_of(tmp_path / "crops", tmp_path / "control", shuffle_labels=True)
    assert learnt > 0.9
    assert abs(control - 0.5) < 0.14
