import json
import logging
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from lnclip.architecture import KNOWN
from lnclip.artifact import Artifact
from lnclip.encoder import FaceEncoder, load_run
from lnclip.errors import ArtifactError, ConfigError
from lnclip.identity import file_sha256
from lnclip.index import read_index, write_index
from lnclip.metrics import mean_average_precision
from lnclip.pooling import pool_videos
from tests.training.conftest import changed
from training.assessment.scoring import score_items
from training.config import TrainConfig
from training.crops import Batch
from training.fitting import fit
from training.runs import start
from training.tuner import Tuner


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
    assert {path.name for path in (run / "log").iterdir()} >= {"metrics.csv", "config.json", "unreadable.csv"}
    assert len(list((run / "log").glob("events.out.tfevents.*"))) == 1
    assert not (run / "log" / "resume.ckpt").exists()
    assert TrainConfig.model_validate_json((run / "log" / "config.json").read_text()) == config

    assert Artifact.load(run / "model.json") == artifact
    assert artifact.identity.weights_sha256 == file_sha256(run / "weights.safetensors")
    assert artifact.identity.spec == config.spec
    assert artifact.provenance.name == "a"
    assert set(artifact.provenance.inputs) == {"config", "train_index", "train_crops"}
    assert artifact.provenance.versions["torch"] == torch.__version__.split("+")[0]
    _, encoder = load_run(run)
    assert not encoder.training


def test_the_same_seed_gives_the_same_weights_and_another_does_not(config: TrainConfig, tmp_path: Path) -> None:
    seeds = (("a", 0), ("b", 0), ("c", 1))
    runs = {name: fit(changed(config, seed=seed), tmp_path / name).identity.weights_sha256 for name, seed in seeds}
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


def test_frozen_parameters_get_no_gradient_and_no_optimiser_state(config: TrainConfig) -> None:
    network = FaceEncoder(KNOWN["demo-4x192-p32"], "quick_gelu", 64)
    tuner = Tuner(network, changed(config, tune="layernorm"))
    optimiser = tuner.configure_optimizers()
    batch = Batch(torch.randn(4, 3, 64, 64), torch.tensor([0, 1, 0, 1]), torch.arange(4))
    tuner.training_step(batch, 0).backward()
    optimiser.step()
    assert network.visual.conv1.weight.grad is None
    assert network.visual.ln_pre.weight.grad is not None
    assert network.head.weight.grad is not None
    held = sum(state["exp_avg"].numel() for state in optimiser.state_dict()["state"].values())
    assert held == 2 * 192 * (2 + 2 * 4) + 2 * 192 + 2


def test_training_lowers_the_loss_and_validation_is_reported(
    config: TrainConfig, small_index: Path, tmp_path: Path
) -> None:
    fit(changed(config, epochs=12, val_index=small_index, learning_rate=1e-3), tmp_path / "run")
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["steps"] == 48
    assert metrics["loss_last_epoch"] < metrics["loss_first_epoch"] / 2
    assert metrics["validation"]["auroc"] > 0.99  # brightness alone tells these apart
    assert [epoch["epoch"] for epoch in metrics["epochs"]] == list(range(1, 13))


@pytest.fixture(scope="module")
def hard_index(small_index: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same crops as videos of two, half of their labels wrong: no epoch gets all of them right."""
    folder = tmp_path_factory.mktemp("hard")
    items = read_index(small_index, "crop")
    label = {"real": "fake", "fake": "real"}
    wrong = [item._replace(label=label[item.label]) if n % 8 < 2 else item for n, item in enumerate(items)]
    pairs = [item._replace(video=f"{n // 4}", source=item.label) for n, item in enumerate(wrong)]
    write_index(folder / "index.csv", pairs)
    return folder / "index.csv"


def test_the_weights_are_those_of_the_epoch_with_the_best_video_map(
    config: TrainConfig, hard_index: Path, tmp_path: Path
) -> None:
    run = changed(config, epochs=5, val_index=hard_index, learning_rate=1e-4, batch_size=4)
    artifact = fit(run, tmp_path / "run")
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    maps = [epoch["validation"]["video_map"] for epoch in metrics["epochs"]]
    assert metrics["epoch"] == 1 + int(np.argmax(maps))
    assert maps[metrics["epoch"] - 1] > maps[-1]  # or the last epoch's weights would pass

    items = read_index(hard_index, "crop")
    videos = pool_videos(items, score_items(load_run(tmp_path / "run")[1], artifact.identity, items))
    assert len(videos.items) == 16
    assert mean_average_precision(videos.is_fake, videos.p_fake) == max(maps)


def test_without_validation_the_weights_are_those_of_the_last_epoch(config: TrainConfig, tmp_path: Path) -> None:
    fit(changed(config, epochs=1, schedule="constant"), tmp_path / "short")
    fit(changed(config, epochs=2, schedule="constant"), tmp_path / "long")
    metrics = json.loads((tmp_path / "long" / "metrics.json").read_text())
    assert (metrics["epoch"], metrics["validation"]) == (2, None)
    short, long = (load_file(tmp_path / name / "weights.safetensors") for name in ("short", "long"))
    assert not torch.equal(short["head.weight"], long["head.weight"])


def test_accumulated_batches_are_one_large_one(config: TrainConfig, tmp_path: Path) -> None:
    """Cross-entropy is a mean over crops, so twice four are eight. The last, half-filled step is left out."""
    plain = changed(config, weight_decay=0.1)
    fit(changed(plain, batch_size=12), tmp_path / "one")  # 32 crops: 2 steps an epoch, 8 crops over
    fit(changed(plain, batch_size=6, accumulate_batches=2), tmp_path / "two")  # 5 batches, the fifth over
    one, two = (load_file(tmp_path / name / "weights.safetensors") for name in ("one", "two"))
    assert json.loads((tmp_path / "two" / "metrics.json").read_text())["steps"] == 4
    for name in one:
        torch.testing.assert_close(one[name], two[name], rtol=0, atol=2e-6, msg=name)  # sums in another order


def test_all_terms_of_the_loss_and_the_rate_are_in_the_log(config: TrainConfig, tmp_path: Path) -> None:
    import csv

    fit(changed(config, alignment_weight=0.5, warmup_epochs=1, schedule="constant"), tmp_path / "run")
    with (tmp_path / "run" / "log" / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    steps = [{name: float(cell) for name, cell in row.items() if cell} for row in rows if row["loss"]]
    assert [row["step"] for row in steps] == [4, 8]
    for row in steps:
        assert row["loss"] == pytest.approx(row["cross_entropy"] + 0.5 * row["alignment"], rel=1e-6)
        assert row["uniformity"] < 0
    # By hand: the fourth step comes after three quarters of the way from 1e-5 to 3e-4.
    assert [row["learning_rate"] for row in steps] == pytest.approx([2.275e-4, 3e-4])
    assert [float(row["epoch_loss"]) for row in rows if row["epoch_loss"]] == [
        epoch["loss"] for epoch in json.loads((tmp_path / "run" / "metrics.json").read_text())["epochs"]
    ]


def test_a_run_is_never_overwritten(config: TrainConfig, seeded_run: Path) -> None:
    before = file_sha256(seeded_run / "weights.safetensors")
    with pytest.raises(ConfigError, match="first holds a trained run already"):
        fit(config, seeded_run)
    assert file_sha256(seeded_run / "weights.safetensors") == before


def test_a_setting_must_agree_with_the_run_to_start_from(config: TrainConfig, seeded_run: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="activation is gelu in the configuration but quick_gelu in the run"):
        fit(changed(config, init=str(seeded_run), activation="gelu"), tmp_path / "run")
    with pytest.raises(ArtifactError, match=r"nowhere/model\.json cannot be read"):
        fit(changed(config, init="nowhere"), tmp_path / "run")


def test_lora_is_merged_into_weights_that_any_encoder_can_load(
    config: TrainConfig, seeded_run: Path, tmp_path: Path
) -> None:
    fit(changed(config, tune="lora", init=str(seeded_run)), tmp_path / "run")
    before, after = (load_file(run / "weights.safetensors") for run in (seeded_run, tmp_path / "run"))
    load_run(tmp_path / "run")  # strict
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved == {"head.weight", "head.bias"} | {
        f"visual.transformer.resblocks.{n}.attn.{name}"
        for n in range(4)
        for name in ("in_proj_weight", "out_proj.weight")
    }


def test_bf16_computes_otherwise_and_keeps_weights_in_fp32(config: TrainConfig, tmp_path: Path) -> None:
    runs = [fit(changed(config, epochs=1, precision=precision), tmp_path / precision) for precision in ("fp32", "bf16")]
    assert runs[0].identity.weights_sha256 != runs[1].identity.weights_sha256
    assert all(t.dtype == torch.float32 for t in load_file(tmp_path / "bf16" / "weights.safetensors").values())


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
def test_a_compiled_encoder_learns_the_same(config: TrainConfig, tmp_path: Path) -> None:
    one = changed(config, epochs=1, batch_size=16)
    fit(one, tmp_path / "eager")
    fit(changed(one, compile=True), tmp_path / "compiled")
    eager, compiled = (load_file(tmp_path / name / "weights.safetensors") for name in ("eager", "compiled"))
    for name in eager:
        torch.testing.assert_close(eager[name], compiled[name], rtol=0, atol=1e-4, msg=name)  # Adam: steps of 3e-4


def test_a_terminal_shows_a_bar_and_a_log_lines(
    config: TrainConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    fit(changed(config, epochs=1), tmp_path / "log")
    assert "epoch 1 of 1: loss 0." in caplog.text
    assert "Epoch" not in capsys.readouterr().err
    caplog.clear()
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    fit(changed(config, epochs=1), tmp_path / "bar")
    written = capsys.readouterr()
    assert "Epoch 0/0" in written.err
    assert "4/4" in written.err
    assert (written.out, "epoch 1 of 1" in caplog.text) == ("", False)


def test_an_encoder_alone_takes_head_and_preprocessing_from_the_configuration(
    config: TrainConfig, seeded_run: Path, tmp_path: Path
) -> None:
    artifact = Artifact.load(seeded_run / "model.json")
    other = changed(config, init=str(seeded_run), head="linear", spec=config.spec.model_copy(update={"crop_px": 256}))
    with pytest.raises(ConfigError, match="head is linear in the configuration but normalised in the run"):
        start(other)
    alone = shutil.copytree(seeded_run, tmp_path / "alone")
    update = {"provenance": artifact.provenance.model_copy(update={"head_trained": False})}
    artifact.model_copy(update=update).save(alone / "model.json")
    begun = start(changed(other, init=str(alone)))
    assert (begun.identity.head, begun.identity.spec.crop_px, begun.encoder.normalise) == ("linear", 256, False)
