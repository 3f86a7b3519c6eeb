"""Other weights into a plan: what can be shown without a GPU, and what is refused."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import onnx
import pytest

from export.engine import build_engine, check_refit_possible
from export.engine_builders import Builder, Gpu
from export.engine_manifest import BatchProfile, EngineManifest
from export.half_precision import typed_graph
from export.refit import refit_engine, unmatched
from export.served_graph import build_graph
from export.spread import write_random_run
from lnclip.architecture import EncoderArchitecture
from lnclip.encoder import load_run
from lnclip.errors import ArtifactError, SetupError

L4 = Gpu("NVIDIA L4", "8.9")


def typed(run: Path, path: Path) -> Path:
    """The FP16 graph of a run, without measuring anything."""
    artifact, encoder = load_run(run)
    served = build_graph(artifact, {name: tensor.numpy() for name, tensor in encoder.state_dict().items()})
    onnx.save(typed_graph(served.model, served.half), path)
    return path


def test_two_runs_of_one_architecture_map_one_to_one(random_run: Path, retrained: Path, tmp_path: Path) -> None:
    old, new = typed(random_run, tmp_path / "old.onnx"), typed(retrained.parent / "run", tmp_path / "new.onnx")
    assert old.read_bytes() != new.read_bytes()
    assert unmatched(old, new) == []


def test_what_does_not_map_is_named(random_run: Path, tmp_path: Path, face_crops) -> None:
    shape = EncoderArchitecture(name="wide", width=256, layers=4, heads=4, patch_px=32)
    write_random_run(tmp_path / "run", shape, face_crops)
    old, other = typed(random_run, tmp_path / "old.onnx"), typed(tmp_path / "run", tmp_path / "other.onnx")
    found = unmatched(old, other)
    assert "block.0.mlp.widen.weight.fp16 is FLOAT16 [256, 1024], was FLOAT16 [192, 768]" in found
    retyped = onnx.load(old)
    [bias] = [tensor for tensor in retyped.graph.initializer if tensor.name == "logits.bias"]
    bias.data_type = onnx.TensorProto.FLOAT16
    bias.raw_data = bias.raw_data[:4]
    onnx.save(retyped, tmp_path / "retyped.onnx")
    assert unmatched(old, tmp_path / "retyped.onnx") == ["logits.bias is FLOAT16 [2], was FLOAT [2]"]


def pretend_plan(exports: Path, **changes: object) -> None:
    manifest = EngineManifest(
        builder="tensorrt_rtx", builder_version="1.0", gpu="NVIDIA L4", compute_capability="8.9",
        profile=BatchProfile(opt=32, max=64), refittable=True, onnx_sha256="", plan_sha256="", golden_dp=0.0,
    )  # fmt: skip
    (exports / "face_encoder.fp32.plan").write_bytes(b"plan")
    manifest.model_copy(update=changes).save(exports / "face_encoder.fp32.plan.json")


def test_without_a_gpu_it_is_refused_by_name(copy_of_export: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("export.refit.find_gpu", lambda: None)
    pretend_plan(copy_of_export)
    with pytest.raises(SetupError, match="refitted on a GPU, and there is none here"):
        refit_engine(copy_of_export, copy_of_export, "fp32")


def test_a_refittable_plan_is_not_built_without_a_gpu(copy_of_export: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """TensorRT-RTX 1.7.1 ends the process otherwise."""
    monkeypatch.setattr("export.engine.find_gpu", lambda: None)
    with pytest.raises(SetupError, match="refittable plans are made and refitted on a GPU"):
        build_engine(copy_of_export, "fp32", builder="tensorrt_rtx", target_gpu="SM89", refittable=True)


@pytest.mark.parametrize(("version", "allowed"), [("11.3.0.99", False), ("11.1.0.106", True), ("11.30.0.1", True)])
def test_the_tensorrt_that_loses_biases_is_refused(version: str, allowed: bool) -> None:
    builder = Builder("tensorrt", SimpleNamespace(__version__=version))
    if allowed:
        check_refit_possible(builder, L4)
    else:
        with pytest.raises(SetupError, match=r"11\.3\.0 loses biases"):
            check_refit_possible(builder, L4)


def test_a_plan_that_cannot_take_weights_is_named(
    copy_of_export: Path, retrained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("export.refit.find_gpu", lambda: L4)
    new = Path(shutil.copytree(retrained, tmp_path / "new"))
    pretend_plan(copy_of_export, refittable=False)
    with pytest.raises(ArtifactError, match=r"cannot take other weights: python -m export engine .* --refittable"):
        refit_engine(new, copy_of_export, "fp32")
    pretend_plan(copy_of_export)
    with pytest.raises(SetupError, match=r"was built with tensorrt_rtx 1\.0 on NVIDIA L4"):
        refit_engine(new, copy_of_export, "fp32")
    assert not (new / "face_encoder.fp32.plan").exists()
