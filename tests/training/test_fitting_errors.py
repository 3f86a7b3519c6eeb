"""What stops a run, or is left out of it, and what is said then."""

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lnclip.architecture import KNOWN
from lnclip.encoder import FaceEncoder
from lnclip.errors import ConfigError
from lnclip.identity import file_sha256
from lnclip.index import Item, read_index, write_index
from tests.training.conftest import changed
from training.config import TrainConfig
from training.crops import Batch
from training.fitting import fit
from training.tuner import Tuner


def test_a_loss_that_is_no_number_stops_the_run_and_names_the_crops(config: TrainConfig, tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"the loss is (nan|inf) at step \d+: lower learning_rate.*\d\d\.png.* and 3 m"
    ):
        fit(changed(config, learning_rate=1e30, final_learning_rate=1e30), tmp_path / "run")
    assert not (tmp_path / "run" / "weights.safetensors").exists()


def test_crops_whose_features_are_no_numbers_are_named_before_the_others(config: TrainConfig) -> None:
    network = FaceEncoder(KNOWN["demo-4x192-p32"], "quick_gelu", 64)
    tuner = Tuner(network, config, [Path(f"{number}.png") for number in range(8)])
    batch = Batch(torch.randn(4, 3, 64, 64), torch.tensor([0, 1, 0, 1]), torch.tensor([7, 5, 3, 1]))
    batch.pixels[2, 0, 0, 0] = torch.nan
    with pytest.raises(ConfigError, match=r"the loss is nan at step 0: .* look at this batch's crops: 3\.png$"):
        tuner.training_step(batch, 0)


def test_too_little_memory_says_what_to_lower(
    config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forward(*given: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")

    monkeypatch.setattr(FaceEncoder, "classify", forward)
    with pytest.raises(
        ConfigError, match=r"lower batch_size \(now 8 on 1 devices\) and raise accumulate_batches \(now 1"
    ):
        fit(config, tmp_path / "run")


def test_devices_that_are_not_there_are_an_error(
    config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lightning.pytorch.accelerators import CPUAccelerator

    monkeypatch.setattr(CPUAccelerator, "is_available", lambda: False)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(ConfigError, match="devices = 2, nodes = 1 cannot be had here"):
        fit(changed(config, devices=2), tmp_path / "run")


def test_too_few_crops_for_a_batch_is_an_error(config: TrainConfig, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has 32 crops, less than batch_size = 33"):
        fit(changed(config, batch_size=33), tmp_path / "run")


def photographs(folder: Path, small_index: Path, sides: tuple[int, int]) -> Path:
    """The small index with one picture of another shape."""
    items = read_index(small_index, "crop")
    Image.fromarray(np.zeros((*sides, 3), np.uint8)).save(folder / "whole.png")
    write_index(folder / "index.csv", [*items, Item(folder / "whole.png", "real", "whole", "", "")])
    return folder / "index.csv"


def test_pictures_that_are_no_aligned_crops_are_mentioned(
    config: TrainConfig, small_index: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        fit(changed(config, train_index=photographs(tmp_path, small_index, (40, 60)), epochs=1), tmp_path / "run")
    [line] = [record.getMessage() for record in caplog.records if "not square" in record.getMessage()]
    assert "1 of 33 crops" in line
    assert "whole.png (60x40)" in line
    caplog.clear()
    fit(changed(config, train_index=photographs(tmp_path, small_index, (60, 60)), epochs=1), tmp_path / "square")
    assert "not square" not in caplog.text


def test_a_damaged_crop_is_left_out_and_listed_unless_there_are_too_many(
    config: TrainConfig, small_index: Path, tmp_path: Path
) -> None:
    items = read_index(small_index, "crop")
    (tmp_path / "bad.png").write_bytes(items[0].path.read_bytes()[:60])
    write_index(tmp_path / "index.csv", [*items, Item(tmp_path / "bad.png", "fake", "bad", "", "")])
    run = changed(config, train_index=tmp_path / "index.csv", epochs=1)
    with pytest.raises(ConfigError, match=r"1 of 33 crops cannot be read: .*bad\.png.*max_unreadable"):
        fit(run, tmp_path / "strict")
    fit(changed(run, max_unreadable=0.05), tmp_path / "run")
    assert "bad.png" in (tmp_path / "run" / "log" / "unreadable.csv").read_text()
    clean = fit(changed(config, epochs=1), tmp_path / "clean")
    assert file_sha256(tmp_path / "run" / "weights.safetensors") == clean.identity.weights_sha256


def test_both_classes_must_be_there(config: TrainConfig, small_index: Path, tmp_path: Path) -> None:
    items = [item for item in read_index(small_index, "crop") if item.label == "real"]
    write_index(tmp_path / "reals.csv", items)
    with pytest.raises(ConfigError, match="val_index: all 16 crops are real"):
        fit(changed(config, val_index=tmp_path / "reals.csv"), tmp_path / "run")


def test_a_video_with_both_labels_is_refused_before_the_first_step(
    config: TrainConfig, small_index: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    items = [item._replace(video="same") for item in read_index(small_index, "crop")]
    write_index(tmp_path / "mixed.csv", items)
    with pytest.raises(ConfigError, match=r"video 'same' .* has files of both labels"):
        fit(changed(config, val_index=tmp_path / "mixed.csv"), tmp_path / "run")
    assert not (tmp_path / "run" / "log" / "metrics.csv").exists()
