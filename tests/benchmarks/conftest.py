"""The random model that the benchmarks measure, made once a session."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from benchmarks.random_service import RandomModel, random_model


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> RandomModel:
    """What ``random_model`` makes of the tiny encoder from nothing; to be read, or copied."""
    return random_model(tmp_path_factory.mktemp("tiny"), "demo-4x192-p32")


@pytest.fixture
def work(tiny_model: RandomModel, tmp_path: Path) -> Path:
    """A copy of its folder, in which an earlier call has made everything."""
    return shutil.copytree(tiny_model.run.parent, tmp_path / "work")
