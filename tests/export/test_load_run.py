"""A run loads only as it was written: every tensor, every byte."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from export.onnx_export import export_run
from lnclip.artifact import Artifact
from lnclip.encoder import load_run
from lnclip.errors import ArtifactError, ConfigError
from lnclip.identity import file_sha256

Weights = dict[str, torch.Tensor]


@pytest.fixture
def altered(random_run: Path, tmp_path: Path) -> Callable[[Callable[[Weights], object]], Path]:
    """A copy of the run whose weights were changed and whose model.json was made to fit the bytes."""

    def alter(change: Callable[[Weights], object]) -> Path:
        weights = load_file(random_run / "weights.safetensors")
        change(weights)
        save_file(weights, tmp_path / "weights.safetensors")
        artifact = Artifact.load(random_run / "model.json")
        sha256 = file_sha256(tmp_path / "weights.safetensors")
        identity = artifact.identity.model_copy(update={"weights_sha256": sha256})
        artifact.model_copy(update={"identity": identity}).save(tmp_path / "model.json")
        return tmp_path

    return alter


def test_a_missing_tensor_is_named(altered) -> None:
    with pytest.raises(ArtifactError, match=r"visual\.ln_post\.bias is missing"):
        load_run(altered(lambda weights: weights.pop("visual.ln_post.bias")))


def test_an_unexpected_tensor_is_named(altered) -> None:
    with pytest.raises(ArtifactError, match=r"visual\.proj is unexpected"):
        load_run(altered(lambda weights: weights.update({"visual.proj": torch.zeros(2, 2)})))


def test_a_misshapen_tensor_is_named(altered) -> None:
    with pytest.raises(ArtifactError, match=r"head\.weight is \(3, 192\), must be \(2, 192\)"):
        load_run(altered(lambda weights: weights.update({"head.weight": torch.zeros(3, 192)})))


def test_changed_bytes_are_refused(random_run: Path, tmp_path: Path) -> None:
    content = bytearray((random_run / "weights.safetensors").read_bytes())
    content[-1] ^= 1
    (tmp_path / "weights.safetensors").write_bytes(content)
    (tmp_path / "model.json").write_bytes((random_run / "model.json").read_bytes())
    with pytest.raises(ArtifactError, match="its SHA-256 differs"):
        load_run(tmp_path)


@pytest.mark.parametrize("name", ["weights.safetensors", "model.json"])
def test_a_missing_file_is_named(random_run: Path, tmp_path: Path, name: str) -> None:
    for file in ("weights.safetensors", "model.json"):
        if file != name:
            (tmp_path / file).write_bytes((random_run / file).read_bytes())
    with pytest.raises(ArtifactError, match=name):
        load_run(tmp_path)


def test_an_encoder_without_a_trained_head_is_not_exported(random_run: Path, tmp_path: Path) -> None:
    alone = shutil.copytree(random_run, tmp_path / "alone")
    artifact = Artifact.load(alone / "model.json")
    untrained = artifact.provenance.model_copy(update={"head_trained": False})
    artifact.model_copy(update={"provenance": untrained}).save(alone / "model.json")
    with pytest.raises(ConfigError, match="alone is an encoder alone, its head is random: train it first"):
        export_run(alone, tmp_path / "out", ["fp32"])
    assert not (tmp_path / "out").exists()
