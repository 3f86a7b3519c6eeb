"""MTCNN's three networks: weights of the installed facenet-pytorch package -> ONNX files.

The package is read, never imported: it needs an old torch. Source of the layers: Zhang et al.,
arXiv 1604.02878, figure 2; of the weights: facenet-pytorch 2.6.0 (MIT), from the authors' Caffe models.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.export import Dim

from export.detector_graph import write_graph
from lnclip.errors import ArtifactError, SetupError
from lnclip.identity import file_sha256

PACKAGE = "facenet-pytorch 2.6.0"

WEIGHTS_SHA256 = {
    "pnet": "a2a71925e0b9996a42f63e47efc1ca19043e69558b5c523b978d611dfae49c8f",
    "rnet": "bbb937de72efc9ef83b186c49f5f558467a1d7e3453a8ece0d71a886633f6a86",
    "onet": "165bfbe42940416ccfb977545cf0e976d5bf321f67083ae2aaaa5c764280118d",
}
"""Of data/NAME.pt in the package."""


class Prelu(nn.Module):
    """x below zero is multiplied by a slope of its channel's.

    Not ``nn.PReLU``: ONNX Runtime's PRelu node took half of the cascade's time on a CPU, nearly three
    times what these four nodes take.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(channels))

    def forward(self, features: Tensor) -> Tensor:
        """(N, C, ...) -> the same."""
        slope = self.weight.reshape(-1, *[1] * (features.dim() - 2))
        return features.relu() + slope * features.clamp(max=0)


class ColumnsFirst(nn.Module):
    """Flatten (N, C, H, W) in the order W, H, C: the dense layers were trained in Caffe under Matlab."""

    def forward(self, features_NCHW: Tensor) -> Tensor:
        """(N, W * H * C)."""
        return features_NCHW.permute(0, 3, 2, 1).flatten(1)


class CascadeNetwork(nn.Module):
    """P-Net, R-Net or O-Net: RGB pixels as they are in a picture -> score, offsets[, landmarks]."""

    def __init__(self, trunk: Mapping[str, nn.Module], answers: Mapping[str, nn.Module]) -> None:
        """Layers by their names in the weights' file; of the answers, the score is the first."""
        super().__init__()
        for name, layer in {**trunk, **answers}.items():
            self.add_module(name, layer)
        self._trunk, self._answers = tuple(trunk), tuple(answers)

    def forward(self, pixels_NHWC: Tensor) -> tuple[Tensor, ...]:
        """Read (N, H, W, 3) float, 0..255.

        Returns:
            scores (N, ...) = p(face); offsets (N, 4, ...); O-Net also landmarks (N, 5, 2) as
            fractions of the box. The dots are P-Net's cells, rows and columns.
        """
        features = (pixels_NHWC.permute(0, 3, 1, 2) - 127.5) * 0.0078125
        for name in self._trunk:
            features = self.get_submodule(name)(features)
        rows, offsets, *points = (self.get_submodule(name)(features) for name in self._answers)
        scores = (rows[:, 1] - rows[:, 0]).sigmoid()  # the second row of their softmax, in fewer steps
        # The file has the five x, then the five y.
        return scores, offsets, *(answer.reshape(-1, 2, 5).transpose(1, 2) for answer in points)


def _pool(side: int) -> nn.MaxPool2d:
    return nn.MaxPool2d(side, 2, ceil_mode=True)


def pnet() -> CascadeNetwork:
    """Fully convolutional, 12 x 12 px -> one cell."""
    trunk = {
        "conv1": nn.Conv2d(3, 10, 3), "prelu1": Prelu(10), "pool1": _pool(2),
        "conv2": nn.Conv2d(10, 16, 3), "prelu2": Prelu(16),
        "conv3": nn.Conv2d(16, 32, 3), "prelu3": Prelu(32),
    }  # fmt: skip
    return CascadeNetwork(trunk, {"conv4_1": nn.Conv2d(32, 2, 1), "conv4_2": nn.Conv2d(32, 4, 1)})


def rnet() -> CascadeNetwork:
    """24 x 24 px."""
    trunk = {
        "conv1": nn.Conv2d(3, 28, 3), "prelu1": Prelu(28), "pool1": _pool(3),
        "conv2": nn.Conv2d(28, 48, 3), "prelu2": Prelu(48), "pool2": _pool(3),
        "conv3": nn.Conv2d(48, 64, 2), "prelu3": Prelu(64), "flatten": ColumnsFirst(),
        "dense4": nn.Linear(576, 128), "prelu4": Prelu(128),
    }  # fmt: skip
    return CascadeNetwork(trunk, {"dense5_1": nn.Linear(128, 2), "dense5_2": nn.Linear(128, 4)})


def onet() -> CascadeNetwork:
    """48 x 48 px."""
    trunk = {
        "conv1": nn.Conv2d(3, 32, 3), "prelu1": Prelu(32), "pool1": _pool(3),
        "conv2": nn.Conv2d(32, 64, 3), "prelu2": Prelu(64), "pool2": _pool(3),
        "conv3": nn.Conv2d(64, 64, 3), "prelu3": Prelu(64), "pool3": _pool(2),
        "conv4": nn.Conv2d(64, 128, 2), "prelu4": Prelu(128), "flatten": ColumnsFirst(),
        "dense5": nn.Linear(1152, 256), "prelu5": Prelu(256),
    }  # fmt: skip
    answers = {name: nn.Linear(256, rows) for name, rows in (("dense6_1", 2), ("dense6_2", 4), ("dense6_3", 10))}
    return CascadeNetwork(trunk, answers)


class Export(NamedTuple):
    """How one network becomes a file."""

    build: Callable[[], CascadeNetwork]
    example: tuple[int, int, int, int]
    """Shape of the input that it is traced with."""

    free: tuple[int, ...]
    """Sides of the input that vary."""

    outputs: tuple[str, ...]


NETWORKS = {
    "pnet": Export(pnet, (1, 32, 40, 3), (1, 2), ("scores", "offsets")),
    "rnet": Export(rnet, (2, 24, 24, 3), (0,), ("scores", "offsets")),
    "onet": Export(onet, (2, 48, 48, 3), (0,), ("scores", "offsets", "landmarks")),
}


def package_data() -> Path:
    """Folder of the weights in the installed package.

    Raises:
        SetupError: the package is not installed here.
    """
    found = importlib.util.find_spec("facenet_pytorch")
    if found is None or not found.submodule_search_locations:
        raise SetupError("facenet-pytorch is not installed, and MTCNN's weights come with it: make setup")
    return Path(found.submodule_search_locations[0]) / "data"


def load_network(name: str, folder: Path) -> CascadeNetwork:
    """P-Net, R-Net or O-Net with the weights of ``folder``/NAME.pt.

    Raises:
        ArtifactError: the file is missing, or not the one that was checked.
    """
    path = folder / f"{name}.pt"
    try:
        digest = file_sha256(path)
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read: {error.strerror}; install {PACKAGE} again: make setup") from error
    if digest != WEIGHTS_SHA256[name]:
        raise ArtifactError(f"{path} is not {PACKAGE}'s: its SHA-256 is {digest}, must be {WEIGHTS_SHA256[name]}")
    network = NETWORKS[name].build()
    network.load_state_dict(torch.load(path, weights_only=True), strict=True)
    return network.eval()


def write_mtcnn(folder: Path, weights: Path | None = None) -> list[str]:
    """Write pnet.onnx, rnet.onnx and onet.onnx.

    Args:
        folder: where to.
        weights: folder of the .pt files; None is the installed package's.

    Returns:
        Names of the files.

    Raises:
        SetupError: facenet-pytorch is not installed.
        ArtifactError: its weights are not those that were checked.
    """
    source = weights or package_data()
    for name, (_, shape, free, outputs) in NETWORKS.items():
        sides = {"pixels": dict.fromkeys(free, Dim.DYNAMIC)}
        write_graph(load_network(name, source), torch.zeros(shape), outputs, sides, folder / f"{name}.onnx")
    return [f"{name}.onnx" for name in NETWORKS]
