"""Two processes over gloo do what one does with all the crops: loss, gradients, weights, validation, log."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from lnclip.architecture import KNOWN
from lnclip.encoder import FaceEncoder
from lnclip.errors import ConfigError
from lnclip.index import read_index
from tests.conftest import ROOT
from tests.training import ddp_step
from tests.training.conftest import changed
from training.config import TrainConfig
from training.crops import CropDataset, Stripe, training_batches
from training.fitting import fit

TOLERANCE = 1e-5
"""Relative, of float32 sums in another order."""

TIMEOUT_S = 300
"""Long: nothing but a hang takes it, however busy the machine."""

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}

ALL_TERMS = {"alignment_weight": 0.1, "uniformity_weight": 0.5}


def test_two_devices_see_one_device_s_batches_between_them(config: TrainConfig) -> None:
    dataset = CropDataset(read_index(config.train_index[0], "crop"), ("real", "fake"), changed(config, num_workers=0))
    whole, *halves = (
        [batch.indices.tolist() for batch in training_batches(dataset, stripe)]
        for stripe in (Stripe(0, 1), Stripe(0, 2), Stripe(1, 2))
    )
    assert [len(batch) for batch in whole] == [8] * 4
    assert [first + second for first, second in zip(*halves, strict=True)] == whole


def test_processes_must_be_started_as_the_settings_say(
    config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match="nodes = 2: start this command on every machine with torchrun or srun"):
        fit(changed(config, nodes=2), tmp_path)
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(ConfigError, match="torchrun started 4 processes, but devices x nodes is 2"):
        fit(changed(config, devices=2), tmp_path)


def step_of_two(folder: Path) -> dict[str, object]:
    """Loss and gradients, which both processes must have alike."""
    program = Path(__file__).with_name("ddp_step.py")
    running = [subprocess.Popen([sys.executable, program, str(rank), "2", folder], env=ENVIRONMENT) for rank in (0, 1)]
    assert [process.wait(timeout=TIMEOUT_S) for process in running] == [0, 0]
    first, second = (torch.load(folder / f"{rank}.pt") for rank in (0, 1))
    torch.testing.assert_close(first, second, rtol=0, atol=0)
    return first


@pytest.mark.slow
def test_gradients_of_two_processes_are_those_of_one_with_the_joint_batch(config: TrainConfig, tmp_path: Path) -> None:
    """Not their direction alone: Adam's first step would hide a factor."""
    run = changed(config, slerp={"mode": "replace"}, **ALL_TERMS)
    torch.manual_seed(0)
    encoder = FaceEncoder(KNOWN[run.encoder], run.activation, run.spec.input_px)
    batch = (torch.randn(8, 3, 64, 64), torch.tensor([0, 1, 1, 1, 0, 0, 1, 1]), torch.arange(8))
    given = {"config": run.model_dump_json(), "weights": encoder.state_dict(), "batch": batch}
    torch.save(given, tmp_path / "batch.pt")
    two = step_of_two(tmp_path)
    ddp_step.main(0, 1, tmp_path)
    one = torch.load(tmp_path / "0.pt")
    torch.testing.assert_close(two["loss"], one["loss"], rtol=TOLERANCE, atol=0)
    assert one["gradients"].keys() == dict(encoder.named_parameters()).keys()
    for name, gradient in one["gradients"].items():
        scale = float(gradient.abs().max())
        torch.testing.assert_close(two["gradients"][name], gradient, rtol=0, atol=TOLERANCE * scale + 1e-9, msg=name)


def training(*words: object) -> subprocess.CompletedProcess[str]:
    arguments = [sys.executable, "-m", "training", *map(str, words)]
    return subprocess.run(arguments, env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=TIMEOUT_S)


@pytest.mark.slow
def test_the_command_on_two_devices_ends_with_the_weights_of_one(small_index: Path, tmp_path: Path) -> None:
    """The command as a user types it; Lightning starts the second process."""
    settings = {"tune": "layernorm", "epochs": 1, "batch_size": 8, "warmup_epochs": 0, "num_workers": 0}
    settings |= {"accumulate_batches": 2, "learning_rate": 1e-3, **ALL_TERMS}
    lines = [
        f'train_index = "{small_index}"',
        f'val_index = "{small_index}"',
        'slerp.mode = "expand"',
        "slerp.size = 16",
    ]
    lines += [f"{name} = {json.dumps(value)}" for name, value in settings.items()] + ["[spec]", "input_px = 64"]
    (tmp_path / "run.toml").write_text("\n".join(lines))
    answer = training("fit", "--config", tmp_path / "run.toml", "--out", tmp_path / "two", "--set", "devices=2")
    assert (answer.returncode, answer.stdout) == (0, f"{tmp_path / 'two'}\n"), answer.stderr
    assert answer.stderr.count("epoch 1 of 1: loss") == 1
    assert "Warning" not in answer.stderr

    from training.config_file import read_config

    fit(read_config(tmp_path / "run.toml"), tmp_path / "one")
    one, two = (load_file(tmp_path / name / "weights.safetensors") for name in ("one", "two"))
    assert max(float((one[name] - two[name]).abs().max()) for name in one) < 1e-5  # steps are 1e-3
    metrics = [json.loads((tmp_path / name / "metrics.json").read_text()) for name in ("one", "two")]
    assert metrics[1]["validation"]["auroc"] == pytest.approx(metrics[0]["validation"]["auroc"])
    assert metrics[1]["validation"]["num_real"] == 16
    for row_one, row_two in zip(*(rows(tmp_path / name) for name in ("one", "two")), strict=True):
        assert row_two == pytest.approx(row_one, rel=1e-4)


def rows(run: Path) -> list[dict[str, float]]:
    with (run / "log" / "metrics.csv").open(newline="") as file:
        return [{name: float(cell) for name, cell in row.items() if cell} for row in csv.DictReader(file)]


@pytest.mark.slow
def test_a_loss_that_is_no_number_ends_both_processes_with_one_message(small_index: Path, tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text(f'train_index = "{small_index}"\nbatch_size = 8\n[spec]\ninput_px = 64\n')
    sets = [
        word for pair in ("devices=2", "learning_rate=1e30", "final_learning_rate=1e30") for word in ("--set", pair)
    ]
    answer = training("fit", "--config", tmp_path / "run.toml", "--out", tmp_path / "run", *sets)
    assert answer.returncode == 2, answer.stderr
    assert answer.stderr.count("error: the loss is ") == 1
    assert "Traceback" not in answer.stderr
    assert ".png" in answer.stderr
