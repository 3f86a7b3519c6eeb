"""Plans: really built by TensorRT-RTX, without a GPU; run where there is one."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from export import engine_builders
from export.engine import build_engine, served_profile
from export.engine_builders import Builder, Gpu, compute_capability, find_builder, find_gpu, make_logger
from export.engine_manifest import BatchProfile, EngineManifest
from export.half_precision import typed_graph
from export.plan_building import PlanOptions, build, layer_types, parse
from export.plan_runner import PlanRunner
from export.report import LIMITS, ParityReport
from export.served_graph import build_graph
from lnclip.architecture import KNOWN
from lnclip.artifact import Artifact, Identity, Provenance
from lnclip.encoder import build_encoder
from lnclip.engines import TorchRunner
from lnclip.errors import ArtifactError, ConfigError, LnclipError, PublishError, SetupError
from lnclip.identity import file_sha256

H100 = Gpu("NVIDIA H100 80GB HBM3", "9.0")


@pytest.fixture(scope="module")
def rtx() -> Builder:
    return find_builder("tensorrt_rtx")


@pytest.fixture(scope="module")
def built(exported_fp16: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export with its plan."""
    folder = Path(shutil.copytree(exported_fp16, tmp_path_factory.mktemp("built") / "fp16"))
    build_engine(folder, "fp16", builder="tensorrt_rtx", target_gpu="SM89")
    return folder


def types_of(network, kind: str) -> dict[str, str]:
    """Layer -> type of its output, for one kind of layer."""
    return {name: dtype for name, found, dtype in layer_types(network) if found == kind}


def check_typing(network, blocks: int) -> None:
    products = types_of(network, "MATRIX_MULTIPLY")
    encoder = {name: dtype for name, dtype in products.items() if name.startswith("block.")}
    assert len(encoder) == 8 * blocks, "Q, K, V, scores, mix, output and two of the MLP in each block"
    assert set(encoder.values()) == {"HALF"}
    assert [dtype for name, dtype in products.items() if name not in encoder] == ["FLOAT"], "the head"
    for kind, count in (("NORMALIZATION", 2 * blocks + 2), ("SOFTMAX", blocks + 1), ("CONVOLUTION", 1)):
        assert list(types_of(network, kind).values()) == ["FLOAT"] * count, kind
    outputs = {network.get_output(index).name: network.get_output(index).dtype.name for index in range(5)}
    assert outputs == {
        "p_fake": "FLOAT", "threshold": "FLOAT", "artifact_id": "INT32", "spec_id": "INT32", "embedding": "FLOAT",
    }  # fmt: skip


@pytest.mark.slow
def test_the_manifest_says_what_was_built_from_what(built: Path) -> None:
    manifest = EngineManifest.load(built / "face_encoder.fp16.plan.json")
    assert (manifest.builder, manifest.gpu, manifest.compute_capability) == ("tensorrt_rtx", None, "8.9")
    assert manifest.builder_version == find_builder("tensorrt_rtx").version
    assert manifest.profile == BatchProfile(min=1, opt=32, max=64)
    assert manifest.onnx_sha256 == file_sha256(built / "face_encoder.fp16.onnx")
    assert manifest.plan_sha256 == file_sha256(built / "face_encoder.fp16.plan")
    assert (manifest.refittable, manifest.golden_dp) == (False, None)
    weights = (built / "face_encoder.fp16.onnx").stat().st_size
    assert 0.5 * weights < (built / "face_encoder.fp16.plan").stat().st_size < 2 * weights
    assert "INFO Detected 1 inputs and 5 output network tensors." in (built / "face_encoder.fp16.plan.log").read_text()


@pytest.mark.slow
def test_the_fp16_graph_is_typed_as_it_should_be(exported_fp16: Path, rtx: Builder, tmp_path: Path) -> None:
    network = parse(rtx, make_logger(rtx, tmp_path / "log"), exported_fp16 / "face_encoder.fp16.onnx")
    check_typing(network, KNOWN["demo-4x192-p32"].layers)


@pytest.mark.slow
def test_vit_l_14_builds_without_a_gpu(rtx: Builder, tmp_path: Path, spec) -> None:
    """Random weights. About 30 s and 7 GB."""
    identity = Identity(weights_sha256="0" * 64, encoder=KNOWN["ViT-L-14"], activation="quick_gelu", spec=spec)
    artifact = Artifact(identity=identity, provenance=Provenance(name="large"))
    encoder = build_encoder(identity)
    served = build_graph(artifact, {name: tensor.numpy() for name, tensor in encoder.state_dict().items()})
    del encoder
    onnx.save(typed_graph(served.model, served.half), tmp_path / "large.onnx")
    del served
    network = parse(rtx, make_logger(rtx, tmp_path / "log"), tmp_path / "large.onnx")
    check_typing(network, 24)
    plan = build(rtx, network, PlanOptions(profile=served_profile(), target="SM89"))
    assert 0.58e9 < len(plan) < 0.7e9, "304 M weights, most of two bytes"


@pytest.mark.slow
def test_an_fp32_graph_does_not_pass_for_fp16(exported: Path, fp16_copy: Path) -> None:
    """It would build and run, at a fifth of the speed."""
    graph = fp16_copy / "face_encoder.fp16.onnx"
    shutil.copyfile(exported / "face_encoder.fp32.onnx", graph)
    report = ParityReport.model_validate_json((fp16_copy / "parity.json").read_bytes())
    sha256 = report.sha256 | {graph.name: file_sha256(graph)}
    (fp16_copy / "parity.json").write_text(report.model_copy(update={"sha256": sha256}).model_dump_json())
    with pytest.raises(ArtifactError, match="says fp16, but none of its matrix products is"):
        build_engine(fp16_copy, "fp16", builder="tensorrt_rtx", target_gpu="SM89")


@pytest.mark.slow
def test_a_graph_without_proof_gets_no_plan(fp16_copy: Path) -> None:
    graph = fp16_copy / "face_encoder.fp16.onnx"
    graph.write_bytes(graph.read_bytes()[:-1] + b"\x00")
    with pytest.raises(PublishError, match="does not prove"):
        build_engine(fp16_copy, "fp16", builder="tensorrt_rtx", target_gpu="SM89")
    assert not list(fp16_copy.glob("*.plan*"))


def test_a_graph_that_the_parser_refuses_is_named_with_its_reason(rtx: Builder, tmp_path: Path) -> None:
    """Nothing but a Cast may read UINT8."""
    graph = helper.make_graph(
        [helper.make_node("Transpose", ["crops"], ["turned"], perm=[0, 2, 1])],
        "wrong",
        [helper.make_tensor_value_info("crops", TensorProto.UINT8, ["batch", 2, 3])],
        [helper.make_tensor_value_info("turned", TensorProto.UINT8, ["batch", 3, 2])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.save(model, tmp_path / "wrong.onnx")
    with pytest.raises(ArtifactError, match=r"tensorrt_rtx cannot read .*wrong\.onnx: .*input has type UInt8"):
        parse(rtx, make_logger(rtx, tmp_path / "log"), tmp_path / "wrong.onnx")


def test_the_plan_takes_every_batch_that_the_config_allows() -> None:
    assert served_profile() == BatchProfile(min=1, opt=32, max=64)
    assert served_profile("face_detector").max == 16


@pytest.mark.parametrize(
    ("target", "gpu", "error", "message"),
    [
        (None, None, SetupError, "no GPU here for tensorrt_rtx.*--target-gpu .*SM89"),
        ("SM90", None, ConfigError, r"does not build for SM90: --target-gpu .*SM75"),
        (None, H100, SetupError, r"does not build for NVIDIA H100 80GB HBM3 \(9\.0\)"),
    ],
)
def test_a_gpu_that_rtx_does_not_build_for_is_refused(rtx, target, gpu, error, message) -> None:
    with pytest.raises(error, match=message):
        compute_capability(rtx, target, gpu)


def test_targets_are_compute_capabilities(rtx: Builder) -> None:
    assert compute_capability(rtx, "SM120", None) == "12.0"
    assert compute_capability(rtx, None, Gpu("NVIDIA L4", "8.9")) == "8.9"


def test_tensorrt_builds_for_the_gpu_here_alone() -> None:
    builder = Builder("tensorrt", SimpleNamespace(__version__="11.1.0.106"))
    with pytest.raises(ConfigError, match="leave --target-gpu out"):
        compute_capability(builder, "SM89", H100)
    assert compute_capability(builder, None, H100) == "9.0"


@pytest.mark.parametrize(("modules", "message"), [({"tensorrt": "no_such_module"}, "extra 'tensorrt'")])
def test_a_builder_that_is_not_there_is_named_with_its_remedy(monkeypatch, modules, message) -> None:
    monkeypatch.setattr(engine_builders, "MODULES", engine_builders.MODULES | modules)
    with pytest.raises(SetupError, match=message):
        find_builder("tensorrt")
    assert find_builder().name == "tensorrt_rtx"


def test_bf16_is_no_plan_s(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no plan in bf16.*--precision fp16"):
        build_engine(tmp_path, "bf16")


@pytest.mark.gpu
@pytest.mark.slow
def test_on_a_gpu_the_plan_passes_the_gate_with_fused_attention(fp16_copy: Path, random_run: Path, face_crops) -> None:
    gpu = find_gpu()
    assert gpu is not None
    try:
        builder = find_builder()
        compute_capability(builder, None, gpu)
        if not torch.cuda.is_available():
            raise SetupError("torch sees no GPU")
    except LnclipError as error:
        pytest.skip(str(error))
    manifest = build_engine(fp16_copy, "fp16", builder=builder.name)
    assert manifest.golden_dp is not None
    with TorchRunner(random_run) as torch_runner, PlanRunner(fp16_copy / "face_encoder.fp16.plan", builder) as runner:
        difference = np.abs(runner.run(face_crops).p_fake - torch_runner.run(face_crops).p_fake)
        names = [str(layer).lower() for layer in runner.layers()]
    assert difference.max() <= LIMITS["fp16"].max_dp
    assert any("mha" in name for name in names), "attention was not fused"
