"""The INT8 graph: symmetric and explicit, within its gate, and served like any other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from export.onnx_export import export_run
from export.report import ParityReport
from lnclip.artifact import Artifact
from lnclip.engines import OnnxRuntimeRunner, OpenVinoRunner
from lnclip.errors import ArtifactError, ParityError
from lnclip.golden import Golden, check_answer
from tests.export.networks import write_tiny_run

pytestmark = pytest.mark.slow
FAMILIES = ["clip", "pe", "dinov3"]


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Every family's INT8 export; about 10 s each."""
    folder = tmp_path_factory.mktemp("int8")
    for name in FAMILIES:
        export_run(write_tiny_run(folder / "run" / name, name), folder / name, ["int8"])
    return {name: folder / name for name in FAMILIES}


@pytest.mark.parametrize("family", FAMILIES)
def test_quantisation_is_symmetric_and_leaves_the_rest(exports: dict[str, Path], family: str) -> None:
    graph = onnx.load(exports[family] / "face_encoder.int8.onnx").graph
    constants = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    maker = {node.output[0]: node.op_type for node in graph.node}
    quantisers = [node for node in graph.node if node.op_type in ("QuantizeLinear", "DequantizeLinear")]
    assert quantisers
    for node in quantisers:
        zero = constants[node.input[2]]
        assert zero.dtype == np.int8
        assert not zero.any()
    for node in graph.node:
        inputs = [maker.get(name) for name in node.input]
        if node.op_type in ("Conv", "Softmax", "LayerNormalization") or node.name == "logits.product":
            assert "DequantizeLinear" not in inputs, node.name
        if node.op_type == "MatMul" and node.name.startswith("block.") and node.name.endswith(".product"):
            assert inputs == ["DequantizeLinear"] * 2, node.name


@pytest.mark.parametrize("family", FAMILIES)
def test_the_gate_judges_ranks(exports: dict[str, Path], family: str) -> None:
    report = ParityReport.model_validate_json((exports[family] / "parity.json").read_bytes())
    *before, found = report.comparisons
    assert [each.engine for each in before] == ["onnxruntime fp32", "openvino fp32"]
    assert all(each.max_dp <= 1e-5 for each in before), "the graph that was quantised"
    assert (found.engine, found.precision) == ("openvino int8", "int8")
    assert found.ranking.spearman >= 0.99
    assert found.ranking.provisional
    assert 1e-4 < found.mean_dp < 0.05, "INT8 is not FP32, and not far from it"
    assert report.int8 is not None
    assert (report.int8.source, report.int8.num_crops) == ("demo", 64)
    assert report.int8.quantised_products >= 12


def test_ids_and_threshold_are_exact(exports: dict[str, Path]) -> None:
    identity = Artifact.load(exports["clip"] / "model.int8.json").identity
    assert identity.precision == "int8"
    golden, path = Golden.load(exports["clip"] / "golden.npz"), exports["clip"] / "face_encoder.int8.onnx"
    for engine in OnnxRuntimeRunner(path, "int8"), OpenVinoRunner(path, "int8"):
        with engine as runner:
            answer = runner.run(golden.crops)
        assert (answer.artifact_id == identity.artifact_id.words()).all()
        assert (answer.spec_id == identity.spec.spec_id.words()).all()
        assert (answer.threshold == np.float32(identity.threshold)).all()


def test_a_published_graph_is_held_to_its_own_answers(exports: dict[str, Path]) -> None:
    golden = Golden.load(exports["clip"] / "golden.npz")
    identity = Artifact.load(exports["clip"] / "model.int8.json").identity
    with OpenVinoRunner(exports["clip"] / "face_encoder.int8.onnx", "int8") as runner:
        answer = runner.run(golden.crops)
    assert check_answer(answer, golden, identity, 1.0) <= 1e-3
    shifted = answer._replace(p_fake=answer.p_fake[::-1])
    with pytest.raises(ParityError, match=r"on the golden crops, at most 0\.05"):
        check_answer(shifted, golden, identity, 1.0)
    with pytest.raises(ArtifactError, match="export again"):
        check_answer(answer, golden._replace(p_fake_int8=np.zeros((0, 1), np.float32)), identity, 1.0)


def test_an_int8_export_is_published_when_asked_for(exports: dict[str, Path], tmp_path: Path) -> None:
    from export.publishing import publish

    assert publish(exports["clip"], tmp_path / "repository", precision="int8") == 1
    published = Artifact.load(tmp_path / "repository" / "face_encoder" / "1" / "model.json")
    assert published.identity.precision == "int8"
