"""The FP16 graph: its types, what becomes an island, and that an overflow cannot pass."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto
from safetensors.numpy import load_file, save_file

from export.graph_builder import GraphBuilder
from export.graph_files import half_graph
from export.half_precision import LARGEST, choose_half, emulated_graph, tensors_to_measure, typed_graph
from export.onnx_export import EMULATED, export_run
from export.ranges import measure_ranges
from export.report import ParityReport
from lnclip.artifact import Artifact
from lnclip.engines import OnnxRuntimeRunner, OpenVinoRunner, TorchRunner, finite_rows
from lnclip.errors import ParityError
from lnclip.identity import file_sha256
from tests.export.networks import graph_of, tiny_crops, write_tiny_run

FAMILIES = ["clip", "pe", "dinov3"]
P_TOLERANCE = 5e-3
"""Of FP16 through two blocks; seen: 5e-4."""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {name: write_tiny_run(tmp_path_factory.mktemp("runs") / name, name) for name in FAMILIES}


def changed_run(run: Path, folder: Path, change) -> Path:
    """A run with other weights, its model.json made to fit."""
    folder.mkdir()
    weights = {name: value.copy() for name, value in load_file(run / "weights.safetensors").items()}
    change(weights)
    save_file(weights, folder / "weights.safetensors")
    artifact = Artifact.load(run / "model.json")
    sha256 = file_sha256(folder / "weights.safetensors")
    identity = artifact.identity.model_copy(update={"weights_sha256": sha256})
    artifact.model_copy(update={"identity": identity}).save(folder / "model.json")
    return folder


def large_hidden_unit(weights: dict[str, np.ndarray]) -> None:
    """One unit of an MLP answers 30,000 to everything: FP32 holds it, and so does FP16, without a margin."""
    name = "visual.transformer.resblocks.0.mlp"
    weights[f"{name}.c_fc.bias"][0] = 30_000
    weights[f"{name}.c_proj.weight"][:, 0] *= 1e-4


def large_values(weights: dict[str, np.ndarray]) -> None:
    """V is 5e4 times as large and the layer behind it as much smaller: in FP32 nothing changes."""
    name = "visual.transformer.resblocks.1.attn"
    for end in ("weight", "bias"):
        weights[f"{name}.in_proj_{end}"][-64:] *= 5e4
    weights[f"{name}.out_proj.weight"] /= 5e4


@pytest.mark.parametrize("family", FAMILIES)
def test_products_are_fp16_and_islands_fp32(runs: dict[str, Path], family: str) -> None:
    model, report = half_graph(graph_of(runs[family]), tiny_crops())
    onnx.checker.check_model(model, full_check=True)
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    types = {value.name: value.type.tensor_type.elem_type for value in [*inferred.value_info, *inferred.output]}
    by_op = {node.name: node.op_type for node in model.graph.node}
    halves = {name for name, kind in types.items() if kind == TensorProto.FLOAT16}
    products = {name for name, op in by_op.items() if op == "MatMul"}
    assert products - halves == {"logits.product"}
    for op in ("LayerNormalization", "Softmax", "Conv", "ReduceL2", "Div", "Sub", "Squeeze"):
        assert not {name for name in halves if by_op[name] == op}, op
    residuals = {name for name in by_op if name.endswith((".attended", ".out"))}
    assert residuals
    assert not residuals & halves
    assert report.islands == []
    assert set(report.ranges) >= {name for name in halves if by_op[name] != "Cast"}
    weights = [tensor for tensor in model.graph.initializer if tensor.name.endswith("weight.fp16")]
    assert len(weights) == len([name for name in products if not name.endswith(("scores", "mix"))]) - 1


@pytest.mark.parametrize("family", FAMILIES)
def test_attention_has_the_form_that_tensorrt_fuses(runs: dict[str, Path], family: str) -> None:
    """FP16 product, softmax between two casts, FP16 product, and no scale anywhere between."""
    model, _ = half_graph(graph_of(runs[family]), tiny_crops())
    maker = {node.output[0]: node for node in model.graph.node}
    mixes = [node for node in model.graph.node if node.name.endswith(".mix")]
    assert len(mixes) == {"clip": 2, "pe": 3, "dinov3": 2}[family]
    for mix in mixes:
        chain = [mix]
        while len(chain) < 5:
            chain.append(maker[chain[-1].input[0]])
        assert [node.op_type for node in chain] == ["MatMul", "Cast", "Softmax", "Cast", "MatMul"]


@pytest.mark.parametrize("family", FAMILIES)
def test_rounds_and_no_more(runs: dict[str, Path], family: str, tmp_path: Path) -> None:
    model, _ = half_graph(graph_of(runs[family]), tiny_crops())
    onnx.save(model, tmp_path / "half.onnx")
    onnx.save(emulated_graph(model), tmp_path / "emulated.onnx")
    crops = tiny_crops().crops
    with TorchRunner(runs[family]) as runner:
        reference = runner.run(crops)
    engines = [
        OnnxRuntimeRunner(tmp_path / "half.onnx", "fp16"),
        OpenVinoRunner(tmp_path / "half.onnx", "fp16"),
        OnnxRuntimeRunner(tmp_path / "emulated.onnx", "fp16"),
    ]
    for engine in engines:
        with engine as runner:
            answer = runner.run(crops)
        dp = np.abs(answer.p_fake - reference.p_fake).max()
        assert 1e-6 < dp < P_TOLERANCE, "FP16 is not FP32, and not far from it"
        np.testing.assert_array_equal(answer.artifact_id, reference.artifact_id)


@pytest.mark.slow
def test_an_export_passes_its_gate_and_says_in_what(runs: dict[str, Path], tmp_path: Path) -> None:
    report = export_run(runs["clip"], tmp_path / "export", ["fp32", "fp16"])
    saved = ParityReport.model_validate_json((tmp_path / "export" / "parity.json").read_bytes())
    assert saved == report
    emulated, openvino = report.comparisons[2:]
    assert (emulated.engine, emulated.arithmetic) == ("onnxruntime fp16", EMULATED)
    assert openvino.arithmetic == "float32 with weights rounded to FP16"
    assert report.fp16 is not None
    assert max(found.max_abs for found in report.fp16.ranges.values()) < LARGEST
    names = {path.name for path in (tmp_path / "export").iterdir()}
    assert names == {
        *(f"face_encoder.{each}.onnx" for each in ("fp32", "fp16")),
        *(f"model.{each}.json" for each in ("fp32", "fp16")),
        "parity.json",
        "golden.npz",
    }


def test_a_range_is_the_largest_magnitude_and_names_its_crop() -> None:
    crops = dataclasses.replace(
        tiny_crops(), crops=np.array([3, 9, 5], np.uint8).repeat(12).reshape(3, 2, 2, 3), names=["a", "b", "c"]
    )
    builder = GraphBuilder()
    pixels = builder.node("Cast", "pixels", "crops", to=TensorProto.FLOAT)
    builder.node("Mul", "less", pixels, builder.constant("factor", np.array(-2, np.float32)))
    ends = {"less": (TensorProto.FLOAT, ("batch", 2, 2, 3))}
    model = builder.model("tiny", {"crops": (TensorProto.UINT8, ("batch", 2, 2, 3))}, ends)
    [found] = measure_ranges(model, ["less"], crops).values()
    assert (found.max_abs, found.crop) == (18.0, "b")


@pytest.mark.slow
def test_what_fp16_cannot_hold_with_a_margin_becomes_an_island(runs: dict[str, Path], tmp_path: Path) -> None:
    run = changed_run(runs["clip"], tmp_path / "run", large_hidden_unit)
    report = export_run(run, tmp_path / "export", ["fp16"])
    assert report.fp16 is not None
    assert set(report.fp16.islands) >= {"block.0.mlp.widen", "block.0.mlp.narrow.product"}
    assert not [name for name in report.fp16.islands if not name.startswith("block.0.mlp.")]
    assert "block.0.mlp.widen" not in report.fp16.ranges


def test_subnormal_weights_become_an_island(runs: dict[str, Path]) -> None:
    graph = graph_of(runs["dinov3"], lambda weights: weights["visual.blocks.1.gamma_2"].fill(1e-5))
    _, report = half_graph(graph, tiny_crops())
    assert report.islands == ["block.1.mlp.narrow.product"]


def test_an_overflow_that_can_be_no_island_exports_nothing(runs: dict[str, Path], tmp_path: Path) -> None:
    run = changed_run(runs["clip"], tmp_path / "run", large_values)
    with pytest.raises(ParityError, match=r"block\.1\.attention\.\S+ reaches .*worst crop: .*export bf16 or fp32"):
        export_run(run, tmp_path / "export", ["fp16"])
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_planted_overflow_fails_whatever_chose_the_types(
    runs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = changed_run(runs["clip"], tmp_path / "run", large_values)
    monkeypatch.setattr("export.graph_files.choose_half", lambda graph, ranges: graph.half)
    with pytest.raises(ParityError, match=r"block\.1\.\S+ reaches .* and is FP16"):
        export_run(run, tmp_path / "export", ["fp16"])
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_the_emulation_overflows_where_engines_on_a_cpu_do_not(runs: dict[str, Path], tmp_path: Path) -> None:
    graph, crops = graph_of(runs["clip"], large_values), tiny_crops().crops[:4]
    tail = frozenset(name for name in graph.half if not name.startswith("block.1.attention.output"))
    model = typed_graph(graph.model, tail)
    onnx.save(model, tmp_path / "half.onnx")
    onnx.save(emulated_graph(model), tmp_path / "emulated.onnx")
    with OpenVinoRunner(tmp_path / "half.onnx", "fp16") as runner:
        assert finite_rows(runner.run(crops)).all()
    with OnnxRuntimeRunner(tmp_path / "emulated.onnx", "fp16") as runner:
        assert not finite_rows(runner.run(crops)).any()


def test_margins_are_kept_at_the_limit(runs: dict[str, Path]) -> None:
    graph = graph_of(runs["clip"])
    ranges = measure_ranges(graph.model, tensors_to_measure(graph), tiny_crops())
    name = "block.0.mlp.widen"
    for size, is_half in ((LARGEST, True), (LARGEST * 1.001, False), (float("nan"), False)):
        ranges[name] = ranges[name].model_copy(update={"max_abs": size})
        assert (name in choose_half(graph, ranges)) == is_half
