"""A version appears whole or not at all, and only when it answers as its export did."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from export.onnx_export import export_run
from export.publishing import STAGING, publish
from export.spread import write_random_run
from lnclip import running
from lnclip.architecture import KNOWN, EncoderArchitecture
from lnclip.artifact import Artifact
from lnclip.engines import OpenVinoRunner
from lnclip.errors import PublishError
from lnclip.golden import Golden
from lnclip.publication import versions
from lnclip.spec import PreprocessSpec


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "repository"


@pytest.fixture
def copy_of_export(exported: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(exported, tmp_path / "export"))


def encoder_files(repository: Path) -> list[str]:
    folder = repository / "face_encoder"
    return sorted(str(path.relative_to(folder)) for path in folder.glob("[0-9.]*/*"))


def test_versions_count_up_and_earlier_ones_stay(exported: Path, target: Path, face_crops) -> None:
    assert [publish(exported, target), publish(exported, target)] == [1, 2]
    names = ("model.json", "model.onnx", "model.py")
    assert encoder_files(target) == [f"{version}/{name}" for version in (1, 2) for name in names]
    folder = target / "face_encoder" / "2"
    artifact = Artifact.load(folder / "model.json")
    assert artifact.runtime.flavour == "cpu"
    assert artifact.runtime.engine.startswith("OpenVINO ")
    with OpenVinoRunner(folder / "model.onnx", "fp32") as runner:
        answer = runner.run(face_crops[:1])
    assert answer.artifact_id[0].tolist() == list(artifact.identity.artifact_id)
    assert artifact.identity == Artifact.load(exported / "model.fp32.json").identity


def test_the_first_version_sets_the_repositorys_sizes(exported: Path, target: Path, spec: PreprocessSpec) -> None:
    publish(exported, target)
    assert "192" in (target / "face_encoder" / "configs" / "cpu.pbtxt").read_text()
    stored = (target / "face_aligner" / "1" / "spec.json").read_bytes()
    assert PreprocessSpec.model_validate_json(stored) == spec


def test_a_candidate_that_answers_otherwise_is_not_published(copy_of_export: Path, target: Path) -> None:
    golden = Golden.load(copy_of_export / "golden.npz")
    golden._replace(p_fake=np.roll(golden.p_fake, 1)).save(copy_of_export / "golden.npz")
    with pytest.raises(PublishError, match=r"fails its check.*\|dp\| is"):
        publish(copy_of_export, target)
    assert encoder_files(target) == []


def test_a_graph_without_proof_is_not_published(copy_of_export: Path, target: Path) -> None:
    path = copy_of_export / "face_encoder.fp32.onnx"
    path.write_bytes(path.read_bytes()[:-1] + b"\x00")
    with pytest.raises(PublishError, match=r"does not prove face_encoder\.fp32\.onnx"):
        publish(copy_of_export, target)
    assert not target.exists()


def test_a_changed_threshold_needs_a_new_export(copy_of_export: Path, target: Path) -> None:
    artifact = Artifact.load(copy_of_export / "model.fp32.json")
    changed = artifact.identity.model_copy(update={"threshold": 0.9})
    artifact.model_copy(update={"identity": changed}).save(copy_of_export / "model.fp32.json")
    with pytest.raises(PublishError, match="export again"):
        publish(copy_of_export, target)


KILLED_BEFORE_THE_RENAME = """
import os, signal, sys
from pathlib import Path
import export.publishing as publishing
publishing._flush = lambda folder: os.kill(os.getpid(), signal.SIGKILL)
publishing.publish(Path(sys.argv[1]), Path(sys.argv[2]))
"""


def test_a_publish_killed_before_the_rename_leaves_no_version(exported: Path, target: Path) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED_BEFORE_THE_RENAME, exported, target], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert (target / "face_encoder" / STAGING / "model.onnx").is_file()
    assert versions(target / "face_encoder") == []
    assert publish(exported, target) == 1
    assert not (target / "face_encoder" / STAGING).exists()


def test_two_publishes_at_once_are_refused(exported: Path, target: Path) -> None:
    folder = target / "face_encoder"
    folder.mkdir(parents=True)
    descriptor = os.open(folder, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        with pytest.raises(PublishError, match="another publish"):
            publish(exported, target)
    finally:
        os.close(descriptor)


def export_another(tmp_path: Path, crops: np.ndarray, *, width: int, spec: PreprocessSpec) -> Path:
    shape = EncoderArchitecture(name="tiny", width=width, layers=1, heads=2, patch_px=32)
    write_random_run(tmp_path / "run", shape, crops, spec=spec)
    export_run(tmp_path / "run", tmp_path / "another", ["fp32"])
    return tmp_path / "another"


def test_another_embedding_size_is_refused(exported: Path, target: Path, tmp_path: Path, face_crops, spec) -> None:
    publish(exported, target)
    before = encoder_files(target)
    another = export_another(tmp_path, face_crops, width=64, spec=spec)
    with pytest.raises(PublishError, match=r"embedding size \(192 there, 64 here\).*--repository DIR"):
        publish(another, target)
    assert encoder_files(target) == before


def test_another_preprocessing_is_refused(exported: Path, target: Path, tmp_path: Path, face_crops) -> None:
    publish(exported, target)
    width = KNOWN["demo-4x192-p32"].width
    another = export_another(tmp_path, face_crops, width=width, spec=PreprocessSpec(crop_scale=1.5))
    with pytest.raises(PublishError, match=r"the preprocessing \(.*--repository DIR"):
        publish(another, target)
    assert versions(target / "face_encoder") == [1]


def test_an_empty_export_is_named(tmp_path: Path, target: Path) -> None:
    with pytest.raises(PublishError, match="holds no fp32 export: python -m export onnx"):
        publish(tmp_path, target)
    assert not target.exists()


def test_the_gpu_flavour_says_what_it_lacks(exported: Path, target: Path) -> None:
    with pytest.raises(PublishError, match="TensorRT plan"):
        publish(exported, target, flavour="gpu")


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


def test_a_version_that_the_server_refuses_is_withdrawn(exported: Path, target: Path, tmp_path: Path) -> None:
    publish(exported, target)
    pretend_server(target, tmp_path / ".run")
    with pytest.raises(PublishError, match="refused version 2, so it is withdrawn"):
        publish(exported, target, run_dir=tmp_path / ".run")
    assert {name.split("/")[0] for name in encoder_files(target)} == {"1"}


def test_a_server_of_another_flavour_is_not_given_the_version(exported: Path, target: Path, tmp_path: Path) -> None:
    pretend_server(target, tmp_path / ".run", flavour="gpu")
    with pytest.raises(PublishError, match="runs flavour gpu"):
        publish(exported, target, run_dir=tmp_path / ".run")
    assert not target.exists()


def test_a_server_on_another_repository_is_left_alone(exported: Path, target: Path, tmp_path: Path) -> None:
    pretend_server(tmp_path / "other", tmp_path / ".run")
    assert publish(exported, target, run_dir=tmp_path / ".run") == 1
