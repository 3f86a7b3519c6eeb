from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import nn

from lnclip.artifact import Artifact
from lnclip.encoder import FaceEncoder, load_run
from lnclip.errors import ArtifactError, ConfigError
from lnclip.identity import file_sha256
from training.config import TrainConfig
from training.fitting import fit
from training.tuner import learning_rate


def changed(config: TrainConfig, **settings: object) -> TrainConfig:
    return TrainConfig.model_validate(config.model_dump() | settings)


@pytest.fixture(scope="module")
def seeded_run(small_index: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where other runs start from."""
    out = tmp_path_factory.mktemp("runs") / "first"
    settings = {"train_index": small_index, "tune": "full", "epochs": 1, "batch_size": 8, "spec": {"input_px": 64}}
    fit(TrainConfig.model_validate(settings | {"seed": 5}), out)
    return out


def test_a_run_is_complete_and_says_where_it_came_from(config: TrainConfig, tmp_path: Path) -> None:
    artifact = fit(config, tmp_path / "runs" / "a")
    run = tmp_path / "runs" / "a"
    assert {path.name for path in run.iterdir()} == {"weights.safetensors", "model.json", "metrics.json", "log"}
    assert {path.name for path in (run / "log").iterdir()} >= {"metrics.csv", "config.json"}
    assert TrainConfig.model_validate_json((run / "log" / "config.json").read_text()) == config

    assert Artifact.load(run / "model.json") == artifact
    assert artifact.identity.weights_sha256 == file_sha256(run / "weights.safetensors")
    assert artifact.identity.spec == config.spec
    assert artifact.provenance.name == "a"
    assert artifact.provenance.inputs["train_index"] == file_sha256(config.train_index)
    assert set(artifact.provenance.inputs) == {"config", "train_index", "train_crops"}
    assert artifact.provenance.versions["torch"] == torch.__version__.split("+")[0]
    _, encoder = load_run(run)
    assert not encoder.training


def test_the_same_seed_gives_the_same_weights_and_another_does_not(config: TrainConfig, tmp_path: Path) -> None:
    runs = {}
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        runs[name] = fit(changed(config, seed=seed), tmp_path / name).identity.weights_sha256
    assert runs["a"] == runs["b"]
    assert runs["a"] != runs["c"]


@pytest.mark.parametrize("tune", ["layernorm", "full"])
def test_exactly_what_is_tuned_moves(config: TrainConfig, seeded_run: Path, tmp_path: Path, tune: str) -> None:
    fit(changed(config, tune=tune, init=str(seeded_run), weight_decay=0.1), tmp_path / "tuned")
    before, after = (load_file(run / "weights.safetensors") for run in (seeded_run, tmp_path / "tuned"))
    moved = {name for name in before if not torch.equal(before[name], after[name])}

    network = FaceEncoder(load_run(seeded_run)[0].identity.encoder, "quick_gelu", 64)
    norms = {
        f"{path}.{name}"
        for path, module in network.named_modules()
        if isinstance(module, nn.LayerNorm)
        for name in ("weight", "bias")
    }
    assert len(norms) == 2 * (2 + 2 * 4)
    assert moved == ({*norms, "head.weight", "head.bias"} if tune == "layernorm" else set(before))


def test_frozen_parameters_get_no_gradient(config: TrainConfig) -> None:
    from training.crops import Batch
    from training.tuner import Tuner

    network = FaceEncoder(load_architecture(), "quick_gelu", 64)
    tuner = Tuner(network, changed(config, tune="layernorm"), [], 1)
    batch = Batch(torch.randn(4, 3, 64, 64), torch.tensor([0, 1, 0, 1]), torch.arange(4))
    nn.functional.cross_entropy(tuner.encoder(batch.pixels).logits, batch.columns).backward()
    assert network.visual.conv1.weight.grad is None
    assert network.visual.ln_pre.weight.grad is not None
    assert network.head.weight.grad is not None


def load_architecture():
    from lnclip.architecture import KNOWN

    return KNOWN["demo-4x192-p32"]


def test_training_lowers_the_loss_and_validation_is_reported(
    config: TrainConfig, small_index: Path, tmp_path: Path
) -> None:
    import json

    fit(changed(config, epochs=12, val_index=small_index, learning_rate=1e-3), tmp_path / "run")
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["steps"] == 48
    assert metrics["loss_last_epoch"] < metrics["loss_first_epoch"] / 2
    assert metrics["validation"]["auroc"] > 0.99  # brightness alone tells these apart


def test_a_loss_that_is_no_number_stops_the_run_and_names_the_crops(config: TrainConfig, tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"the loss is (nan|inf) at step \d+: lower learning_rate.*\d\d\.png.* and 3 m"
    ):
        fit(changed(config, learning_rate=1e30, final_learning_rate=1e30), tmp_path / "run")
    assert not (tmp_path / "run" / "weights.safetensors").exists()


def test_a_run_is_never_overwritten(config: TrainConfig, seeded_run: Path) -> None:
    before = file_sha256(seeded_run / "weights.safetensors")
    with pytest.raises(ConfigError, match="first holds a trained run already"):
        fit(config, seeded_run)
    assert file_sha256(seeded_run / "weights.safetensors") == before


def test_too_few_crops_for_a_batch_is_an_error(config: TrainConfig, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has 32 crops, less than batch_size = 33"):
        fit(changed(config, batch_size=33), tmp_path / "run")


def test_a_setting_must_agree_with_the_run_to_start_from(config: TrainConfig, seeded_run: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="activation is gelu in the configuration but quick_gelu in the run"):
        fit(changed(config, init=str(seeded_run), activation="gelu"), tmp_path / "run")
    with pytest.raises(ArtifactError, match=r"nowhere/model\.json cannot be read"):
        fit(changed(config, init="nowhere"), tmp_path / "run")


def test_an_unreadable_crop_is_named(config: TrainConfig, tmp_path: Path) -> None:
    Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(tmp_path / "good.png")
    (tmp_path / "bad.png").write_bytes((tmp_path / "good.png").read_bytes()[:60])
    (tmp_path / "index.csv").write_text("path,label,video,dataset,source\ngood.png,real,,,\nbad.png,fake,,,\n")
    with pytest.raises(ConfigError, match=r"bad\.png is no readable crop"):
        fit(changed(config, train_index=tmp_path / "index.csv", batch_size=2), tmp_path / "run")


def test_learning_rate_warms_up_and_follows_half_a_cosine(config: TrainConfig) -> None:
    cosine = changed(config, learning_rate=3e-4, final_learning_rate=1e-5)
    # By hand: warm-up of 10 steps from the floor to the peak, then 20 steps down; half-way is their mean.
    assert [learning_rate(cosine, step, 10, 30) for step in (0, 5, 10, 20, 30)] == pytest.approx(
        [1e-5, 1.55e-4, 3e-4, 1.55e-4, 1e-5]
    )
    assert learning_rate(changed(cosine, schedule="constant"), 29, 10, 30) == 3e-4
