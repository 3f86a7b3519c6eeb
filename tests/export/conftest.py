"""Exports and repositories to publish into."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from lnclip import running
from lnclip.architecture import KNOWN


@pytest.fixture(scope="session")
def retrained(tmp_path_factory: pytest.TempPathFactory, face_crops: np.ndarray) -> Path:
    """An export of the same shape and spec with other weights; its run lies beside it."""
    from export.onnx_export import export_run
    from export.spread import write_random_run

    folder = tmp_path_factory.mktemp("retrained")
    write_random_run(folder / "run", KNOWN["demo-4x192-p32"], face_crops, seed=1)
    export_run(folder / "run", folder / "export", ["fp32"])
    return folder / "export"


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """A repository that is not there yet."""
    return tmp_path / "repository"


@pytest.fixture
def published(repository: Path, target: Path) -> Path:
    """A copy of the session's repository: version 1 is there."""
    return Path(shutil.copytree(repository, target))


@pytest.fixture
def copy_of_export(exported: Path, tmp_path: Path) -> Path:
    """An export to spoil."""
    return Path(shutil.copytree(exported, tmp_path / "export"))


def encoder_files(repository: Path) -> list[str]:
    """What lies in the version folders, and in hidden ones, beside the bytecode that a server makes there."""
    folder = repository / "face_encoder"
    return sorted(str(path.relative_to(folder)) for path in folder.glob("[0-9.]*/*") if path.name != "__pycache__")


def pretend_server(repository: Path, run_dir: Path, **changes: object) -> None:
    """This very process as a server whose ports nobody listens on."""
    pid = os.getpid()
    server = running.RunningServer(
        pid=pid,
        start_ticks=running.start_ticks(pid),
        http_url="127.0.0.1:9",
        grpc_url="127.0.0.1:9",
        metrics_url="127.0.0.1:9",
        repository=repository,
        flavour="cpu",
        key="0",
    )
    running.save(server.model_copy(update=changes), run_dir)


@pytest.fixture(scope="session")
def exported_fp16(tmp_path_factory: pytest.TempPathFactory, random_run: Path, crops_index: Path) -> Path:
    """The strongly typed FP16 graph of the session's run."""
    from export.onnx_export import export_run

    out = tmp_path_factory.mktemp("exports") / "fp16"
    export_run(random_run, out, ["fp16"], crops_index)
    return out


@pytest.fixture
def fp16_copy(exported_fp16: Path, tmp_path: Path) -> Path:
    """One to build plans in, or to spoil."""
    return Path(shutil.copytree(exported_fp16, tmp_path / "fp16"))
