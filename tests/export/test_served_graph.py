"""The graph: its form, and that it computes what two independent implementations compute."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from safetensors.torch import load_file
from transformers import CLIPVisionConfig, CLIPVisionModel

from export.served_graph import build_graph
from export.spread import write_random_run
from lnclip.architecture import KNOWN, Activation, EncoderArchitecture
from lnclip.artifact import Artifact
from lnclip.contract import ENCODER_OUTPUTS
from lnclip.encoder import load_run
from lnclip.engines import OnnxRuntimeRunner, OpenVinoRunner, TorchRunner
from lnclip.preprocess import normalise
from lnclip.spec import PreprocessSpec

EMBEDDING_TOLERANCE = 1e-5
"""Between float32 implementations that sum in different orders; seen: 1e-6."""

P_TOLERANCE = 1e-5


def write_graph(run: Path, path: Path, **identity: object) -> Artifact:
    """Export a run's graph, with fields of its identity changed."""
    artifact, encoder = load_run(run)
    changed = artifact.identity.model_copy(update=identity)
    artifact = artifact.model_copy(update={"identity": changed})
    weights = {name: tensor.numpy() for name, tensor in encoder.state_dict().items()}
    onnx.save(build_graph(artifact, weights).model, path)
    return artifact


@pytest.fixture(scope="module")
def graph_path(random_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("graph") / "encoder.onnx"
    write_graph(random_run, path)
    return path


@pytest.fixture(scope="module")
def graph(graph_path: Path) -> onnx.ModelProto:
    return onnx.load(graph_path)


def test_passes_the_full_check_of_onnx(graph: onnx.ModelProto) -> None:
    onnx.checker.check_model(graph, full_check=True)
    assert graph.opset_import[0].version >= 20


def test_signature_is_the_contracts(graph: onnx.ModelProto) -> None:
    [crops] = graph.graph.input
    assert crops.name == "crops"
    assert crops.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    assert [dim.dim_value or dim.dim_param for dim in crops.type.tensor_type.shape.dim] == ["batch", 224, 224, 3]
    assert [output.name for output in graph.graph.output] == [spec.name for spec in ENCODER_OUTPUTS]


def test_only_a_cast_reads_the_uint8_input(graph: onnx.ModelProto) -> None:
    readers = [node.op_type for node in graph.graph.node if "crops" in node.input]
    assert readers == ["Cast"]
    assert graph.graph.node[0].op_type == "Cast"


def test_every_layer_norm_is_one_node(graph: onnx.ModelProto) -> None:
    counts = Counter(node.op_type for node in graph.graph.node)
    assert counts["LayerNormalization"] == 2 * KNOWN["demo-4x192-p32"].layers + 2
    assert not counts.keys() & {"ReduceMean", "Pow", "Sqrt"}
    assert counts["Sub"] == 1, "the one that centres the pixels"


def test_folded_affines_leave_nothing_behind(graph: onnx.ModelProto) -> None:
    constants = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.graph.initializer}
    for node in graph.graph.node:
        if node.op_type == "LayerNormalization":
            is_plain = (constants[node.input[1]] == 1).all() and (constants[node.input[2]] == 0).all()
            assert is_plain == node.name.startswith("block."), node.name
    # Each linear layer adds its bias, each block its two residuals; then positions. Each QuickGELU multiplies twice.
    layers = KNOWN["demo-4x192-p32"].layers
    counts = Counter(node.op_type for node in graph.graph.node)
    assert counts["Add"] == layers * (6 + 2) + 1 + 1
    assert counts["Mul"] == layers * 2


def test_the_last_block_computes_the_class_token_only(graph: onnx.ModelProto) -> None:
    shapes = {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim][1:]
        for value in onnx.shape_inference.infer_shapes(graph, data_prop=True).graph.value_info
    }
    assert shapes["block.2.attention.scores"] == [3, 50, 50]
    assert shapes["block.3.attention.scores"] == [3, 1, 50]
    assert shapes["block.3.mlp.widen"] == [1, 4 * 192]


def test_metadata_name_the_artifact(graph: onnx.ModelProto, random_run: Path) -> None:
    artifact = Artifact.load(random_run / "model.json")
    properties = {prop.key: prop.value for prop in graph.metadata_props}
    assert properties["name"] == "random"
    assert properties["artifact_id"] == artifact.identity.artifact_id.hex


def test_same_run_same_bytes(random_run: Path, graph_path: Path, tmp_path: Path) -> None:
    write_graph(random_run, tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == graph_path.read_bytes()


@pytest.mark.parametrize("batch", [1, 3, 64])
@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_answers_batches_of_any_size(graph_path: Path, random_run: Path, face_crops, engine: str, batch: int) -> None:
    crops = np.resize(face_crops, (batch, 224, 224, 3))
    artifact = Artifact.load(random_run / "model.json")
    runner = OnnxRuntimeRunner(graph_path) if engine == "onnxruntime" else OpenVinoRunner(graph_path, "fp32")
    with runner:
        answer = runner.run(crops)
    assert [column.shape for column in answer] == [(batch, 1), (batch, 1), (batch, 2), (batch, 2), (batch, 192)]
    assert [column.dtype for column in answer] == [np.float32, np.float32, np.int32, np.int32, np.float32]
    assert (answer.artifact_id == artifact.identity.artifact_id.words()).all()
    assert (answer.spec_id == artifact.identity.spec.spec_id.words()).all()
    assert (answer.threshold == np.float32(artifact.identity.threshold)).all()
    np.testing.assert_allclose(np.linalg.norm(answer.embedding, axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("head", ["normalised", "linear"])
@pytest.mark.parametrize("class_order", [("real", "fake"), ("fake", "real")])
def test_agrees_with_torch_whatever_the_head(
    random_run: Path, face_crops, tmp_path: Path, head: str, class_order
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "weights.safetensors").symlink_to(random_run / "weights.safetensors")
    artifact = Artifact.load(random_run / "model.json")
    # A linear head reads a feature some fifteen times as long: the temperature keeps p off 0 and 1.
    changes = {"head": head, "class_order": class_order, "temperature": 25.0 if head == "linear" else 1.5}
    identity = artifact.identity.model_copy(update=changes)
    artifact.model_copy(update={"identity": identity}).save(run / "model.json")
    write_graph(run, tmp_path / "encoder.onnx")
    with TorchRunner(run) as torch_runner, OnnxRuntimeRunner(tmp_path / "encoder.onnx") as candidate:
        reference, answer = torch_runner.run(face_crops), candidate.run(face_crops)
    assert reference.p_fake.std() > 0.1
    np.testing.assert_allclose(answer.p_fake, reference.p_fake, atol=P_TOLERANCE)
    np.testing.assert_array_equal(answer.artifact_id, reference.artifact_id)


def hugging_face_embeddings(run: Path, crops: np.ndarray, activation: Activation) -> np.ndarray:
    """transformers' CLIP with the same weights: an implementation that shares no code with ours.

    Source of the key table: reference layout of HF CLIP against open_clip's VisionTransformer.
    """
    identity = Artifact.load(run / "model.json").identity
    shape = identity.encoder
    config = CLIPVisionConfig(
        hidden_size=shape.width,
        intermediate_size=int(shape.width * shape.mlp_ratio),
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        image_size=identity.spec.input_px,
        patch_size=shape.patch_px,
        hidden_act=activation,
    )
    ours = load_file(run / "weights.safetensors")
    theirs = {
        "embeddings.class_embedding": ours["visual.class_embedding"],
        "embeddings.patch_embedding.weight": ours["visual.conv1.weight"],
        "embeddings.position_embedding.weight": ours["visual.positional_embedding"],
    }
    for end in ("weight", "bias"):
        theirs[f"pre_layrnorm.{end}"] = ours[f"visual.ln_pre.{end}"]
        theirs[f"post_layernorm.{end}"] = ours[f"visual.ln_post.{end}"]
        for layer in range(shape.layers):
            block, target = f"visual.transformer.resblocks.{layer}", f"encoder.layers.{layer}"
            pairs = {"layer_norm1": "ln_1", "layer_norm2": "ln_2", "self_attn.out_proj": "attn.out_proj"}
            pairs |= {"mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj"}
            theirs |= {f"{target}.{new}.{end}": ours[f"{block}.{old}.{end}"] for new, old in pairs.items()}
            packed = ours[f"{block}.attn.in_proj_{end}"].chunk(3)
            theirs |= {
                f"{target}.self_attn.{part}_proj.{end}": piece for part, piece in zip("qkv", packed, strict=True)
            }
    model = CLIPVisionModel(config).eval()
    prefix = "vision_model." if next(iter(model.state_dict())).startswith("vision_model.") else ""
    loaded = model.load_state_dict({prefix + name: value for name, value in theirs.items()}, strict=False)
    assert not loaded.unexpected_keys
    assert not [name for name in loaded.missing_keys if "position_ids" not in name]
    with torch.inference_mode():
        feature = model(torch.from_numpy(normalise(crops, identity.spec))).pooler_output
    return torch.nn.functional.normalize(feature, dim=1).numpy()


@pytest.fixture(scope="module")
def small() -> EncoderArchitecture:
    return EncoderArchitecture(name="tiny", width=64, layers=3, heads=2, patch_px=16)


@pytest.mark.parametrize("activation", ["quick_gelu", "gelu"])
def test_embedding_equals_that_of_transformers(small, face_crops, tmp_path: Path, activation: Activation) -> None:
    spec, crops = PreprocessSpec(input_px=64), np.ascontiguousarray(face_crops[:32, ::3, ::3][:, :64, :64])
    write_random_run(tmp_path, small, crops, spec=spec, activation=activation)
    write_graph(tmp_path, tmp_path / "encoder.onnx")
    with OnnxRuntimeRunner(tmp_path / "encoder.onnx") as runner:
        ours = runner.run(crops).embedding
    theirs = hugging_face_embeddings(tmp_path, crops, activation)
    np.testing.assert_allclose(ours, theirs, atol=EMBEDDING_TOLERANCE)
    other: Activation = "gelu" if activation == "quick_gelu" else "quick_gelu"
    wrong = hugging_face_embeddings(tmp_path, crops, other)
    assert np.abs(ours - wrong).max() > 100 * EMBEDDING_TOLERANCE, "the wrong activation must show"
