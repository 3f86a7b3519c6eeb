"""The GPU flavours' engine settings: what Triton's back ends read, and the traps in how they read it."""

from pathlib import Path

import pytest
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig, ModelInstanceGroup

from benchmarks.gpu_plan import pinned_bytes
from export.engine import served_profile
from lnclip.errors import ConfigError
from server.model_configs import Sizes, adapt, config_file, load_config
from server.repository import SOURCE

ENGINES = ("face_encoder", "face_detector")
FLAVOURS = ("gpu", "onnx_gpu")
PINNED_POOL = 256 * 2**20
"""tritonserver's default for --pinned-memory-pool-byte-size."""


def config(model: str, flavour: str):
    return load_config(config_file(SOURCE / model, flavour))


def test_the_engines_alone_are_on_the_gpu():
    assert {path.parent.parent.name for path in SOURCE.glob("*/configs/onnx_gpu.pbtxt")} == set(ENGINES)
    kinds = {path.parent.name: load_config(path).instance_group for path in SOURCE.glob("*/config.pbtxt")}
    on_gpu = {name for name, groups in kinds.items() if any(g.kind == ModelInstanceGroup.KIND_GPU for g in groups)}
    assert on_gpu == set(ENGINES)


@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize("model", ENGINES)
def test_an_engine_is_loaded_once_and_gets_large_batches(model, flavour):
    """A plan with a dynamic dimension is not shared between instances, and one with one profile prefers no size."""
    [group] = config(model, flavour).instance_group
    assert group.count == 1
    assert not group.profile
    assert config(model, flavour).HasField("dynamic_batching")
    assert not config(model, flavour).dynamic_batching.preferred_batch_size


@pytest.mark.parametrize(("model", "largest"), [("face_encoder", 8), ("face_detector", 4)])
def test_every_small_batch_has_its_own_cuda_graph(model, largest):
    """Only an exact match is replayed, so a hole in the list is a batch size without a graph."""
    cuda = config(model, "gpu").optimization.cuda
    assert cuda.graphs
    assert [spec.batch_size for spec in cuda.graph_spec] == list(range(1, largest + 1))


@pytest.mark.parametrize("model", ENGINES)
def test_cuda_graphs_lie_within_the_profile_of_the_plan(model):
    served, profile = config(model, "gpu"), served_profile(model)
    assert profile.max == served.max_batch_size > 0, "without a batch dimension graphs are not found: server issue 7150"
    assert all(profile.min <= spec.batch_size <= profile.max for spec in served.optimization.cuda.graph_spec)


@pytest.mark.parametrize("model", ENGINES)
def test_a_cuda_graph_never_serves_a_smaller_batch(model):
    """A lower bound would: with rows in it that nobody sent."""
    assert not any(spec.HasField("graph_lower_bound") for spec in config(model, "gpu").optimization.cuda.graph_spec)


@pytest.mark.parametrize("model", ENGINES)
def test_cuda_graphs_follow_the_artifact_to_another_size(model):
    """Shapes in the list would be of one S; without them the profile's are taken."""
    text = adapt(SOURCE, model, "config.pbtxt", Sizes(S=336, D=768))
    adapted, committed = text_format.Parse(text, ModelConfig()), config(model, "gpu")
    assert adapted.optimization == committed.optimization
    assert not any(spec.input for spec in adapted.optimization.cuda.graph_spec)
    sides = [336, 336, 3] if model == "face_encoder" else [640, 640, 3]
    assert list(adapted.input[0].dims) == sides


@pytest.mark.parametrize("model", ENGINES)
def test_onnx_runtime_is_not_asked_for_tensorrts_cuda_graphs(model):
    assert config(model, "onnx_gpu").platform == "onnxruntime_onnx"
    assert not config(model, "onnx_gpu").optimization.HasField("cuda")


def test_an_fp32_artifact_is_computed_in_fp32():
    """ONNX Runtime's CUDA provider has TF32 on by default; the detector may keep it, as in its plan."""
    [accelerator] = config("face_encoder", "onnx_gpu").optimization.execution_accelerators.gpu_execution_accelerator
    assert accelerator.name == "cuda"
    assert accelerator.parameters["use_tf32"] == "0"
    assert not config("face_detector", "onnx_gpu").optimization.HasField("execution_accelerators")


@pytest.mark.parametrize("model", ENGINES)
def test_a_new_batch_size_does_not_try_out_every_convolution(model):
    """As a parameter of the model: in an execution accelerator the back end overwrites it with EXHAUSTIVE."""
    served = config(model, "onnx_gpu")
    assert served.parameters["cudnn_conv_algo_search"].string_value == "1"
    for accelerator in served.optimization.execution_accelerators.gpu_execution_accelerator:
        assert "cudnn_conv_algo_search" not in accelerator.parameters


@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize("model", ENGINES)
def test_inputs_and_outputs_cross_in_pinned_memory(model, flavour):
    settings = config(model, flavour).optimization
    assert settings.input_pinned_memory.enable
    assert settings.output_pinned_memory.enable


@pytest.mark.parametrize("input_px", [224, 336])
def test_the_largest_batches_fit_tritons_pinned_pool_several_times(input_px):
    assert 5 * pinned_bytes(input_px) <= PINNED_POOL


@pytest.mark.parametrize("model", ENGINES)
def test_both_gpu_flavours_take_the_same_requests(model):
    plan, graph = (config(model, flavour) for flavour in FLAVOURS)
    assert plan.max_batch_size == graph.max_batch_size
    assert plan.dynamic_batching == graph.dynamic_batching
    assert list(plan.input) == list(graph.input)
    assert list(plan.output) == list(graph.output)


def test_a_misspelt_setting_is_refused(tmp_path: Path):
    path = tmp_path / "config.pbtxt"
    path.write_text('name: "face_encoder" optimization { cuda { cuda_graphs: true } }')
    with pytest.raises(ConfigError, match="cuda_graphs"):
        load_config(path)
