"""What is loaded, what is not here and what makes it so: a missing part must cost its own row alone."""

import onnxruntime
import pytest
import torch

import export.engine
import export.engine_builders
import export.plan_runner
from benchmarks.encoder_speed import loading
from benchmarks.encoder_speed.loading import load
from benchmarks.encoder_speed.ways import LARGEST_BATCH, Way
from lnclip.errors import ArtifactError, SetupError

CUDA = "CUDAExecutionProvider"
CUDA_SESSION, PLAN = Way("onnxruntime", "fp16", "cuda"), Way("tensorrt", "fp16", "cuda")


@pytest.fixture
def exports(tmp_path):
    folder = tmp_path / "export"
    folder.mkdir()
    return folder


@pytest.mark.parametrize(
    ("way", "there", "missing", "precisions"),
    [
        (Way("openvino", "int8"), ["fp32"], "int8", "fp32,int8"),
        (Way("openvino", "bf16"), [], "fp32", "fp32"),
        (CUDA_SESSION, ["fp32", "int8"], "fp16", "fp32,int8,fp16"),
        (PLAN, [], "fp16", "fp32,fp16"),
    ],
    ids=lambda value: value.name if isinstance(value, Way) else "",
)
def test_what_was_not_exported_is_not_here_and_the_command_keeps_what_is(exports, way, there, missing, precisions):
    for precision in there:
        (exports / f"face_encoder.{precision}.onnx").touch()
    with pytest.raises(SetupError) as found:
        load(way, exports.parent / "run", exports)
    command = f"python -m export onnx {exports.parent}/run --out {exports} --precision {precisions}"
    assert str(found.value) == f"face_encoder.{missing}.onnx was not exported: {command}"


def test_an_onnx_runtime_without_cuda_is_not_here(exports, monkeypatch):
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    (exports / "face_encoder.fp16.onnx").touch()
    with pytest.raises(SetupError, match="no CUDAExecutionProvider"):
        load(CUDA_SESSION, exports, exports)


def test_onnx_runtime_finds_cuda_before_it_loads_and_computes_as_it_is_served(exports, monkeypatch):
    happened = []

    class Session:
        def __init__(self, _path, *, providers):
            happened.append(providers)

        def get_providers(self):
            return [CUDA, "CPUExecutionProvider"]

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CUDA, "CPUExecutionProvider"])
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: happened.append("preloaded"))
    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    (exports / "face_encoder.fp16.onnx").touch()
    load(CUDA_SESSION, exports, exports)
    assert happened == ["preloaded", [(CUDA, {"use_tf32": "0"})]]


def test_a_plan_without_its_manifest_is_not_here(exports):
    (exports / "face_encoder.fp16.plan").touch()
    with pytest.raises(
        SetupError, match=f"plan.json cannot be read.*python -m export engine {exports} --precision fp16"
    ):
        load(PLAN, exports, exports)


def test_a_plan_that_is_not_there_is_built(exports, monkeypatch):
    built = []

    def build(folder, precision, *, builder):
        built.append((folder, precision, builder))
        raise ArtifactError("the builder refuses it")

    monkeypatch.setattr(export.engine, "build_engine", build)
    (exports / "face_encoder.fp16.onnx").touch()
    with pytest.raises(SetupError, match="the builder refuses it"):
        load(PLAN, exports, exports)
    assert built == [(exports, "fp16", "tensorrt")]


def test_without_tensorrt_its_row_says_how_to_get_it(exports, monkeypatch):
    modules = export.engine_builders.MODULES | {"tensorrt": "no_such_module"}
    monkeypatch.setattr(export.engine_builders, "MODULES", modules)
    (exports / "face_encoder.fp16.onnx").touch()
    with pytest.raises(SetupError, match=r"tensorrt cannot be imported.*extra 'tensorrt'"):
        load(PLAN, exports, exports)


def test_bf16_on_a_gpu_asks_the_gpu_and_not_the_processor(tmp_path, monkeypatch):
    monkeypatch.setattr(loading, "supports_bf16", lambda: pytest.fail("asked the processor"))
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda *, including_emulation: including_emulation)
    with pytest.raises(SetupError, match="this GPU has no bf16"):
        load(Way("torch", "bf16", "cuda"), tmp_path, tmp_path)


def test_torch_compile_without_a_compiler_is_not_here(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SetupError, match=r"C\+\+ compiler"):
        load(Way("torch", "fp32", "cpu", "compiled"), tmp_path, tmp_path)


@pytest.fixture
def compilations(monkeypatch):
    """Batch sizes in the order of their compilation: torch's own front end, and a back end that computes eagerly."""
    sizes, real = [], torch.compile

    def backend(graph, inputs):
        sizes.append(len(inputs[0]))
        return graph.forward

    monkeypatch.setattr(torch, "compile", lambda module, **options: real(module, backend=backend, **options))
    with torch._dynamo.config.patch(recompile_limit=8, fail_on_recompile_limit_hit=False):
        yield sizes
    torch._dynamo.reset()


def test_more_than_eight_batch_sizes_are_all_compiled(compilations):
    compiled = loading._compiled(lambda pixels: pixels + 1)
    for batch in range(2, 14):
        compiled(torch.zeros(batch, 3))
    assert compilations == list(range(2, 14))
    assert torch._dynamo.config.recompile_limit == LARGEST_BATCH


def test_a_size_that_would_run_eagerly_is_an_error(compilations, monkeypatch):
    monkeypatch.setattr(loading, "LARGEST_BATCH", 2)
    compiled = loading._compiled(lambda pixels: pixels + 1)
    compiled(torch.zeros(2, 3))
    compiled(torch.zeros(3, 3))
    with pytest.raises(torch._dynamo.exc.FailOnRecompileLimitHit):
        compiled(torch.zeros(4, 3))
    assert compilations == [2, 3]
