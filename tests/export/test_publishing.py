"""A version appears whole or not at all, and only when it answers as its export did."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from export.publishing import PublishOptions, publish
from export.report import ParityReport
from lnclip.artifact import Artifact
from lnclip.engines import OpenVinoRunner
from lnclip.errors import PublishError
from lnclip.golden import Golden
from lnclip.identity import file_sha256
from lnclip.spec import PreprocessSpec
from tests.export.conftest import encoder_files

FILES = ["golden.npz", "model.json", "model.onnx", "model.py", "parity.json"]


@pytest.mark.slow
def test_a_version_is_a_whole_folder_of_the_exported_weights(published: Path, exported: Path, face_crops) -> None:
    assert encoder_files(published) == [f"1/{name}" for name in FILES]
    folder = published / "face_encoder" / "1"
    artifact = Artifact.load(folder / "model.json")
    assert artifact.runtime.flavour == "cpu"
    assert artifact.runtime.engine.startswith("OpenVINO 2")
    with OpenVinoRunner(folder / "model.onnx", "fp32") as runner:
        answer = runner.run(face_crops[:1])
    assert answer.artifact_id[0].tolist() == list(artifact.identity.artifact_id)
    assert artifact.identity == Artifact.load(exported / "model.fp32.json").identity


@pytest.mark.slow
def test_the_first_version_sets_the_repositorys_sizes(published: Path, spec: PreprocessSpec) -> None:
    assert "192" in (published / "face_encoder" / "configs" / "cpu.pbtxt").read_text()
    stored = (published / "face_aligner" / "1" / "spec.json").read_bytes()
    assert PreprocessSpec.model_validate_json(stored) == spec


@pytest.mark.slow
def test_versions_count_up_and_the_oldest_give_way(exported: Path, published: Path) -> None:
    (published / "face_encoder" / "7").mkdir()  # no version, but Triton would take it for the newest
    assert publish(exported, published, options=PublishOptions(keep=2)) == 8
    (published / "face_encoder" / "7").rmdir()
    assert publish(exported, published, options=PublishOptions(keep=2)) == 9
    assert encoder_files(published) == [f"{version}/{name}" for version in (8, 9) for name in FILES]


@pytest.mark.slow
def test_a_candidate_that_answers_otherwise_is_not_published(copy_of_export: Path, target: Path) -> None:
    golden = Golden.load(copy_of_export / "golden.npz")
    golden._replace(p_fake=np.roll(golden.p_fake, 1)).save(copy_of_export / "golden.npz")
    with pytest.raises(PublishError, match=r"fails its check.*\|dp\| is"):
        publish(copy_of_export, target)
    assert encoder_files(target) == []


@pytest.mark.slow
def test_a_graph_of_another_contract_is_not_published(copy_of_export: Path, target: Path) -> None:
    path = copy_of_export / "face_encoder.fp32.onnx"
    model = onnx.load(path)
    for values in (model.graph.output, *(node.output for node in model.graph.node)):
        for index, value in enumerate(values):
            if getattr(value, "name", value) == "embedding":
                if isinstance(value, str):
                    values[index] = "feature_vector"
                else:
                    value.name = "feature_vector"
    for node in model.graph.node:
        node.input[:] = ["feature_vector" if name == "embedding" else name for name in node.input]
    onnx.save(model, path)
    report = ParityReport.model_validate_json((copy_of_export / "parity.json").read_bytes())
    report = report.model_copy(update={"sha256": {path.name: file_sha256(path)}})
    (copy_of_export / "parity.json").write_text(report.model_dump_json())
    with pytest.raises(PublishError, match="fails its check"):
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


def test_an_empty_export_is_named(tmp_path: Path, target: Path) -> None:
    with pytest.raises(PublishError, match="holds no fp32 export: python -m export onnx"):
        publish(tmp_path, target)
    assert not target.exists()


def test_int8_is_for_those_who_ask(copy_of_export: Path, target: Path) -> None:
    (copy_of_export / "model.fp32.json").rename(copy_of_export / "model.int8.json")
    with pytest.raises(PublishError, match="holds no fp32 export"):
        publish(copy_of_export, target)


def test_fp16_is_for_gpus(exported: Path, target: Path) -> None:
    with pytest.raises(PublishError, match="--flavour gpu"):
        publish(exported, target, precision="fp16")
