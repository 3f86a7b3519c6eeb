"""Detectors as ``python -m export face-detector`` writes them, made once a session."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from lnclip.mtcnn import Mtcnn


@pytest.fixture(scope="session")
def mtcnn(detector_folder: Path) -> Mtcnn:
    return Mtcnn(detector_folder)


@pytest.fixture(scope="session")
def random_tensors() -> dict[str, torch.Tensor]:
    """RetinaFace's tensors, random: statistics of normalisation are not 0 and 1, and the heads are
    damped to answers of a trained network's size (scores that differ, boxes in or near the picture)."""
    from export.retinaface_export import build_network

    torch.manual_seed(0)
    tensors = build_network().state_dict()
    for name, tensor in tensors.items():
        if name.endswith("running_mean"):
            tensor.normal_(0, 0.1)
        elif name.endswith("running_var"):
            tensor.uniform_(0.5, 1.5)
        elif "Head." in name:
            tensor.mul_(0.1)
    return tensors


@pytest.fixture(scope="session")
def random_weights(tmp_path_factory: pytest.TempPathFactory, random_tensors: dict[str, torch.Tensor]) -> Path:
    """Those as a .pth."""
    path = tmp_path_factory.mktemp("weights") / "random.pth"
    torch.save(random_tensors, path)
    return path


@pytest.fixture(scope="session")
def retinaface_repository(tmp_path_factory: pytest.TempPathFactory, random_weights: Path) -> Path:
    """A repository with RetinaFace of those weights."""
    from export.face_detector import install_retinaface

    repository = tmp_path_factory.mktemp("repository")
    install_retinaface(random_weights, repository)
    return repository
