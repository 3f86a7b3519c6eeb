"""A run that was cut off anywhere ends as if nothing had happened: the same bits, the same log."""

import csv
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lnclip.errors import ArtifactError, ConfigError
from lnclip.identity import file_sha256
from lnclip.index import read_index, write_index
from tests.conftest import ROOT
from tests.training.conftest import changed
from training.checkpoints import Checkpoints
from training.config import TrainConfig
from training.fitting import fit

EVERYTHING = {
    "tune": "lora",
    "lora": {"rank": 2, "dropout": 0.2},
    "slerp": {"mode": "replace"},
    "pairs_together": True,
    "accumulate_batches": 2,
    "batch_size": 4,
    "alignment_weight": 0.1,
    "uniformity_weight": 0.5,
    "warmup_epochs": 0.5,
    "restart_epochs": 1,
    "shuffle_labels": True,
}
"""All that draws random numbers, counts steps, or holds gradients from one batch to the next."""

DEADLINE_S = 300


def keep_cuts(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Copy a run's log folder at each checkpoint: what a kill right after it would leave."""
    save = Checkpoints.save

    def save_and_copy(self: Checkpoints, trainer) -> None:
        save(self, trainer)
        shutil.copytree(self.path.parent, folder / f"{trainer.global_step:02}" / "log")

    monkeypatch.setattr(Checkpoints, "save", save_and_copy)


@pytest.fixture
def cut(config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run killed after its first step."""
    with monkeypatch.context() as patched:
        keep_cuts(patched, tmp_path / "cuts")
        fit(changed(config, save_every_steps=1, epochs=1), tmp_path / "whole")
    return tmp_path / "cuts" / "01"


def rows(run: Path) -> list[dict[str, str]]:
    with (run / "log" / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_resuming_after_any_step_gives_the_same_weights_and_log(
    config: TrainConfig, small_index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Inside both epochs, between them, and after the last but before the weights were written."""
    run = changed(config, val_index=small_index, save_every_steps=1, **EVERYTHING)
    with monkeypatch.context() as patched:
        keep_cuts(patched, tmp_path / "cuts")
        whole = fit(run, tmp_path / "whole")
    assert len(rows(tmp_path / "whole")) == 4
    cuts = sorted((tmp_path / "cuts").iterdir())
    assert [cut.name for cut in cuts] == [f"{step:02}" for step in range(1, 9)]
    for cut in cuts:
        if (cut / "log" / "metrics.csv").exists():
            with (cut / "log" / "metrics.csv").open("a") as file:  # what a killed process wrote later on
                file.write("0.5,0.5,9,,0.5,0.5,99,0.5\n0.1,0.")
        assert fit(run, cut, resume=True).identity == whole.identity, cut.name
        assert (cut / "metrics.json").read_bytes() == (tmp_path / "whole" / "metrics.json").read_bytes()
        assert rows(cut) == rows(tmp_path / "whole"), cut.name
        assert not (cut / "log" / "resume.ckpt").exists()


@pytest.mark.slow
def test_mixing_dropout_and_pairs_each_show_in_the_bits(config: TrainConfig, tmp_path: Path) -> None:
    """Or the test above would not see one of them go wrong."""
    run = changed(config, epochs=1, **EVERYTHING)
    plain = fit(run, tmp_path / "a").identity.weights_sha256
    for name, other in (("slerp", {"mode": "off"}), ("lora", {"rank": 2, "dropout": 0.3}), ("pairs_together", False)):
        assert fit(changed(run, **{name: other}), tmp_path / name).identity.weights_sha256 != plain


@pytest.mark.slow
def test_a_run_killed_in_mid_epoch_ends_with_the_same_bits(
    config: TrainConfig, small_index: Path, tmp_path: Path
) -> None:
    """kill -9 as soon as there is a checkpoint; 16 steps an epoch."""
    settings = {"batch_size": 2, "save_every_steps": 3, "spec.input_px": 128, "tune": "full", "epochs": 2}
    (tmp_path / "run.toml").write_text(f'train_index = "{small_index}"\nval_index = "{small_index}"\n')
    words = [sys.executable, "-m", "training", "fit", "--config", tmp_path / "run.toml", "--out", tmp_path / "killed"]
    words += [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}

    killed = subprocess.Popen(words, env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + DEADLINE_S
    while not (tmp_path / "killed" / "log" / "resume.ckpt").exists():
        assert killed.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.001)
    killed.kill()
    assert killed.wait() == -signal.SIGKILL
    assert not (tmp_path / "killed" / "weights.safetensors").exists()

    resumed = subprocess.run([*words, "--resume"], env=environment, capture_output=True, text=True, check=False)
    assert resumed.returncode == 0, resumed.stderr
    assert "Warning" not in resumed.stderr
    step = int(re.search(r"resumed after step (\d+) of 32", resumed.stderr)[1])
    assert step % 16, "the kill came too late to be in mid-epoch"

    from training.config_file import read_config

    overrides = [f"{name}={value}" for name, value in settings.items()]
    whole = fit(read_config(tmp_path / "run.toml", overrides), tmp_path / "whole")
    assert file_sha256(tmp_path / "killed" / "weights.safetensors") == whole.identity.weights_sha256


def test_a_checkpoint_holds_no_frozen_weights(
    config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_cuts(monkeypatch, tmp_path / "cuts")
    fit(changed(config, tune="layernorm", epochs=1), tmp_path / "run")
    learning = 2 * 192 * (2 + 2 * 4) + 2 * 192 + 2
    size_bytes = (tmp_path / "cuts" / "04" / "log" / "resume.ckpt").stat().st_size
    assert 3 * 4 * learning < size_bytes < 3 * 4 * learning + 100_000  # weights and two moments, names and counters


def test_a_run_goes_on_only_with_what_it_began_with(
    config: TrainConfig, cut: Path, small_index: Path, tmp_path: Path
) -> None:
    run = changed(config, save_every_steps=1, epochs=1)
    before = {path.name: path.read_bytes() for path in (cut / "log").iterdir()}
    with pytest.raises(
        ConfigError, match=r"of another run: epochs was 1 and is 4; learning_rate was 0.0003 and is 0.1"
    ):
        fit(changed(run, epochs=4, learning_rate=0.1), cut, resume=True)
    index = small_index.read_text()
    try:
        write_index(small_index, read_index(small_index, "crop")[::-1])
        with pytest.raises(ConfigError, match="of another run: the crops of train_index are others"):
            fit(run, cut, resume=True)
    finally:
        small_index.write_text(index)
    assert {path.name: path.read_bytes() for path in (cut / "log").iterdir()} == before
    fit(run, cut, resume=True)


def test_what_is_not_cut_off_cannot_be_resumed(config: TrainConfig, cut: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nothing to resume; start without --resume"):
        fit(config, tmp_path / "new", resume=True)
    with pytest.raises(ConfigError, match="whole holds a trained run already"):
        fit(config, tmp_path / "whole", resume=True)
    with pytest.raises(ConfigError, match="01 holds a run that was cut off; go on with --resume"):
        fit(config, cut)


def test_a_damaged_checkpoint_is_named(config: TrainConfig, cut: Path) -> None:
    checkpoint = cut / "log" / "resume.ckpt"
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    with pytest.raises(ArtifactError, match=r"resume\.ckpt cannot be read"):
        fit(changed(config, save_every_steps=1, epochs=1), cut, resume=True)


def test_a_run_that_died_before_its_first_checkpoint_starts_again(config: TrainConfig, tmp_path: Path) -> None:
    (tmp_path / "run" / "log").mkdir(parents=True)
    (tmp_path / "run" / "log" / "metrics.csv").write_text("step,loss\n1,0.5\n")
    (tmp_path / "run" / "log" / "events.out.tfevents.1.x.1.0").write_bytes(b"")
    fit(changed(config, epochs=1), tmp_path / "run")
    assert [row["step"] for row in rows(tmp_path / "run")] == ["4", "4"]
    assert len(list((tmp_path / "run" / "log").glob("events.out.tfevents.*"))) == 1
