"""The three networks: weights checked, layers as the package's, graphs as the layers."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from export.mtcnn_export import load_network, package_data, write_mtcnn
from lnclip.errors import ArtifactError, SetupError

INPUTS = [
    ("pnet", (1, 12, 12, 3)),
    ("pnet", (1, 61, 147, 3)),
    ("rnet", (1, 24, 24, 3)),
    ("rnet", (5, 24, 24, 3)),
    ("onet", (1, 48, 48, 3)),
    ("onet", (3, 48, 48, 3)),
]


def pixels(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 255, shape).astype(np.float32)


@pytest.mark.parametrize(("name", "shape"), INPUTS)
def test_the_graph_computes_what_torch_does(name: str, shape: tuple[int, ...], detector_folder: Path) -> None:
    session = onnxruntime.InferenceSession(detector_folder / f"{name}.onnx", providers=["CPUExecutionProvider"])
    with torch.no_grad():
        expected = load_network(name, package_data())(torch.from_numpy(pixels(shape)))
    answers = session.run(["scores", "offsets", "landmarks"][: len(expected)], {"pixels": pixels(shape)})
    for answer, tensor in zip(answers, expected, strict=True):
        np.testing.assert_allclose(answer, tensor.numpy(), atol=1e-5)


@pytest.mark.parametrize(("name", "shape"), INPUTS)
def test_the_layers_are_the_package_s(name: str, shape: tuple[int, ...]) -> None:
    package = pytest.importorskip("facenet_pytorch.models.mtcnn")
    theirs = getattr(package, f"{name[0].upper()}Net")()
    normalised = (torch.from_numpy(pixels(shape)).permute(0, 3, 1, 2) - 127.5) / 128
    with torch.no_grad():
        offsets, *points, rows = theirs(normalised)
        scores, our_offsets, *our_points = load_network(name, package_data())(torch.from_numpy(pixels(shape)))
    torch.testing.assert_close(scores, rows[:, 1], atol=1e-6, rtol=0)
    torch.testing.assert_close(our_offsets, offsets, atol=1e-5, rtol=0)
    for ours, theirs_x_then_y in zip(our_points, points, strict=True):
        torch.testing.assert_close(ours[..., 0], theirs_x_then_y[:, :5], atol=1e-5, rtol=0)
        torch.testing.assert_close(ours[..., 1], theirs_x_then_y[:, 5:], atol=1e-5, rtol=0)


def test_refuses_weights_that_were_not_checked(tmp_path: Path) -> None:
    shutil.copytree(package_data(), tmp_path / "data")
    with (tmp_path / "data" / "rnet.pt").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(ArtifactError, match=r"rnet\.pt is not facenet-pytorch 2\.6\.0's: its SHA-256 is"):
        load_network("rnet", tmp_path / "data")


def test_refuses_a_package_without_its_weights(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"pnet\.pt cannot be read: No such file"):
        write_mtcnn(tmp_path, weights=tmp_path)


def test_says_how_to_get_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SetupError, match=r"facenet-pytorch is not installed.*make setup"):
        package_data()


def test_the_files_say_nothing_of_the_machine_that_wrote_them(detector_folder: Path) -> None:
    for path in detector_folder.glob("*.onnx"):
        content = path.read_bytes()
        assert b"stack_trace" not in content
        assert b".py" not in content
