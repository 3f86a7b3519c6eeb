"""The whole way, as a new user goes it: every stage by its own command, on real parts."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from transformers import CLIPVisionConfig, CLIPVisionModel

from benchmarks.demo import MARKER, run_demo
from client.readers import read_rows
from export.spread import spread_head
from lnclip.artifact import Artifact
from lnclip.encoder import load_run
from lnclip.errors import ConfigError
from lnclip.preprocess import normalise
from tests.training.published import checkpoints
from training.published.importing import import_run


@pytest.mark.slow
def test_the_demo_learns_serves_and_scores(tmp_path: Path) -> None:
    """About 4 minutes on 2 cores, most of them training."""
    out = tmp_path / "demo"
    closing = run_demo(out, [])
    found = re.fullmatch(r"demo: 224 files scored, 2 errors, AUROC (\d\.\d\d), report (.*)", closing)
    assert found is not None, closing
    assert float(found[1]) >= 0.90
    page = Path(found[2]).read_text(encoding="utf-8")
    assert "no deepfake detector" in page
    assert "python -m training import" in page
    rows = {Path(row.path).name: row for row in read_rows(out / "rows.jsonl")}
    assert (rows["no-face.jpg"].status, rows["no-face.jpg"].p_fake) == ("no_face", None)
    assert rows["truncated.jpg"].error is not None
    assert rows["truncated.jpg"].error.code == "truncated"
    assert rows["text.jpg"].error is not None
    assert rows["text.jpg"].error.code == "not_an_image"
    assert rows["group.jpg"].num_faces == 2
    assert not (out / ".run" / "server.json").exists(), "the server is stopped"


def test_the_demo_deletes_nothing_that_it_did_not_make(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(ConfigError, match=str(tmp_path)):
        run_demo(tmp_path, [])
    assert (tmp_path / "mine.txt").exists()
    assert not (tmp_path / MARKER).exists()


@pytest.mark.slow
def test_the_demo_serves_imported_weights(tmp_path: Path, face_crops: np.ndarray) -> None:
    """The first paper's, whose crops are cut otherwise than the demo's own: over a minute on 2 cores."""
    weights = spread_checkpoint(tmp_path / "weights", face_crops)
    out = tmp_path / "demo"
    closing = run_demo(out, [], str(weights))
    assert re.fullmatch(r"demo: 224 files scored, 2 errors, AUROC \d\.\d\d, report .*", closing), closing
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "imported weights" in page
    assert "outside what published detectors were trained on" in page
    artifact = Artifact.load(out / "imported" / "model.json")
    assert (artifact.identity.spec.crop_px, artifact.identity.spec.estimator) == (256, "least_squares")
    scored = [row for row in read_rows(out / "rows.jsonl") if row.status == "ok"]
    assert {row.model["artifact_id"] for row in scored if row.model} == {artifact.identity.artifact_id.hex}
    assert np.std([row.p_fake for row in scored]) > 0.05


def spread_checkpoint(folder: Path, crops: np.ndarray) -> Path:
    """A random CLIP of the demo's size, made by Hugging Face, with a head that tells these crops apart."""
    torch.manual_seed(0)
    config = CLIPVisionConfig(
        hidden_size=192, intermediate_size=768, num_hidden_layers=4, num_attention_heads=3, image_size=224,
        patch_size=32, hidden_act="quick_gelu",
    )  # fmt: skip
    model = checkpoints.livened(CLIPVisionModel(config), scale=0.05)
    encoder = {f"vision_model.{name.removeprefix('vision_model.')}": t for name, t in model.state_dict().items()}
    settings = checkpoints.hyper_parameters(num_attention_heads=3)
    start = checkpoints.write_folder(folder, checkpoints.gend_tensors(encoder, nn.Linear(192, 2)), settings)
    artifact = import_run(str(start), folder / "run")
    _, network = load_run(folder / "run")
    with torch.no_grad():
        pixels = torch.from_numpy(normalise(crops, artifact.identity.spec))
        spread_head(network, network(pixels).embedding, artifact.identity)
    tensors = checkpoints.gend_tensors(encoder, network.head)
    del tensors["feature_extractor.visual_projection.weight"]  # what tells the first paper's from the second's
    return checkpoints.write_checkpoint(folder / "model.ckpt", tensors, settings)


def test_settings_of_a_training_that_does_not_happen_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="give one of them"):
        run_demo(tmp_path / "demo", ["epochs=1"], "weights.safetensors")
