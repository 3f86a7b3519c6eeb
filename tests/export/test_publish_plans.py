"""Plans into a repository for GPUs: what is refused, and the folder that Triton gets."""

from __future__ import annotations

from pathlib import Path

import pytest
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig

from export.engine_builders import Gpu
from export.engine_manifest import BatchProfile, EngineManifest
from export.publishing import publish
from lnclip.artifact import Artifact
from lnclip.errors import ArtifactError, PublishError
from lnclip.identity import file_sha256
from lnclip.publication import versions
from server.image import TENSORRT
from server.model_configs import load_config

pytestmark = pytest.mark.slow

PLAN, MANIFEST = "face_encoder.fp16.plan", "face_encoder.fp16.plan.json"


@pytest.fixture
def with_plan(fp16_copy: Path) -> Path:
    """An export with what a build inside the Triton image would leave; the plan's own bytes are never read here."""
    (fp16_copy / PLAN).write_bytes(b"plan")
    EngineManifest(
        builder="tensorrt", builder_version=TENSORRT, gpu="NVIDIA L4", compute_capability="8.9",
        profile=BatchProfile(opt=32, max=64), refittable=False, golden_dp=1e-3,
        onnx_sha256=file_sha256(fp16_copy / "face_encoder.fp16.onnx"), plan_sha256=file_sha256(fp16_copy / PLAN),
    ).save(fp16_copy / MANIFEST)  # fmt: skip
    return fp16_copy


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"builder": "tensorrt_rtx"}, r"is a plan of tensorrt_rtx, Triton loads those of tensorrt only"),
        ({"builder_version": "10.9.0.34"}, r"with TensorRT 10\.9\.0\.34, .*tritonserver:26\.07-py3 has 11\.1\.0"),
        ({"onnx_sha256": "0" * 64}, r"was not built from face_encoder\.fp16\.onnx as it is there"),
        ({"plan_sha256": "0" * 64}, r"is not the file that its manifest describes"),
    ],
)  # fmt: skip
def test_a_plan_that_triton_cannot_load_or_of_other_weights_is_refused(
    with_plan: Path, target: Path, changes: dict[str, str], message: str
) -> None:
    EngineManifest.load(with_plan / MANIFEST).model_copy(update=changes).save(with_plan / MANIFEST)
    with pytest.raises(PublishError, match=message + ".*python -m export engine .* --builder tensorrt"):
        publish(with_plan, target, flavour="gpu")
    assert not target.exists()


def test_an_export_without_a_plan_or_its_manifest_is_refused(with_plan: Path, target: Path) -> None:
    (with_plan / MANIFEST).unlink()
    with pytest.raises(ArtifactError, match=r"plan\.json cannot be read"):
        publish(with_plan, target, flavour="gpu")
    (with_plan / PLAN).unlink()
    with pytest.raises(PublishError, match=r"holds no face_encoder\.fp16\.plan: python -m export engine"):
        publish(with_plan, target, flavour="gpu")
    assert not target.exists()


@pytest.mark.parametrize(
    ("gpu", "message"),
    [
        (None, "no GPU here to check the plan on"),
        (Gpu("NVIDIA H100 80GB HBM3", "9.0"), "was built for NVIDIA L4, here is NVIDIA H100"),
    ],
)
def test_nothing_is_published_unchecked(
    with_plan: Path, target: Path, gpu: Gpu | None, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("export.checking.find_gpu", lambda: gpu)
    with pytest.raises(PublishError, match=message):
        publish(with_plan, target, flavour="gpu")
    assert versions(target / "face_encoder") == []
    assert list((target / "face_encoder").iterdir()) == []


def test_a_plan_that_does_not_run_is_not_published(
    with_plan: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check's process really runs: without tensorrt it says so, with it the plan does not load."""
    monkeypatch.setattr("export.checking.find_gpu", lambda: Gpu("NVIDIA L4", "8.9"))
    with pytest.raises(
        PublishError, match=r"the candidate fails its check.*(tensorrt cannot be imported|does not load)"
    ):
        publish(with_plan, target, flavour="gpu")
    assert versions(target / "face_encoder") == []


def test_the_folder_is_what_the_production_config_loads(
    with_plan: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All but the check, which needs the GPU."""
    monkeypatch.setattr("export.publishing.check_apart", lambda candidate, staging: f"TensorRT {TENSORRT}")
    assert publish(with_plan, target, flavour="gpu") == 1
    folder = target / "face_encoder" / "1"
    assert {path.name for path in folder.iterdir()} == {
        "model.plan", "model.json", "engine.json", "golden.npz", "parity.json",
    }  # fmt: skip
    assert (folder / "model.plan").read_bytes() == b"plan"
    artifact = Artifact.load(folder / "model.json")
    assert artifact.identity == Artifact.load(with_plan / "model.fp16.json").identity
    assert (artifact.runtime.flavour, artifact.runtime.engine) == ("gpu", "TensorRT 11.1.0.106")
    config = load_config(target / "face_encoder" / "config.pbtxt")
    assert (config.platform, config.max_batch_size) == ("tensorrt_plan", 64)
    onnx_config = text_format.Parse((target / "face_encoder" / "configs" / "onnx_gpu.pbtxt").read_text(), ModelConfig())
    assert onnx_config.platform == "onnxruntime_onnx"
    assert list(onnx_config.output[-1].dims) == [192]
