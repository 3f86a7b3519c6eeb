"""A way, ready to be called: uint8 crops in host memory in, the encoder's answer in host memory out.

For a process of the engine's own, which keeps what was loaded until it ends: nothing here frees anything.
"""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import numpy as np

from benchmarks.encoder_speed.ways import LARGEST_BATCH, Device, Way
from export.engine_manifest import EngineManifest, manifest_file, plan_file
from export.report import onnx_file
from lnclip.artifact import Artifact, Precision
from lnclip.contract import CROPS, ENCODER_OUTPUTS
from lnclip.engines import Crops, EncoderAnswer, OnnxRuntimeRunner, OpenVinoRunner, Runner, supports_bf16
from lnclip.errors import ArtifactError, SetupError

if TYPE_CHECKING:
    from torch import Tensor

    from lnclip.encoder import FaceEncoder

Encode = Callable[[Crops], EncoderAnswer]
"""(B, S, S, 3) uint8 RGB -> the answer."""


@cache
def load(way: Way, run: Path, exports: Path) -> Encode:
    """Load a way, once in a process.

    Args:
        way: one of ``ways.ways``.
        run: folder with model.json and weights.safetensors, for torch.
        exports: folder of ``export onnx`` and ``export engine``, for the others.

    Raises:
        SetupError: it is not here: a package, a graph, its plan or the hardware's support is missing.
        ArtifactError: what is there cannot be loaded.
        ParityError: the plan that was built for it answers otherwise.
    """
    if way.engine == "torch":
        return _torch_encode(way, run)
    if way.engine == "tensorrt":
        return _plan_encode(way.precision, run, exports)
    path = _graph("fp32" if way.precision == "bf16" else way.precision, run, exports)
    if way.engine == "onnxruntime" and way.device == "cuda":
        return _cuda_session(path)
    runner: Runner = OpenVinoRunner(path, way.precision) if way.engine == "openvino" else OnnxRuntimeRunner(path)
    return runner.__enter__().run


def _graph(precision: Precision, run: Path, exports: Path) -> Path:
    """The exported graph.

    Raises:
        SetupError: it is not there; with the command that makes it, beside those that are: an export replaces all.
    """
    path = exports / onnx_file(precision)
    if path.is_file():
        return path
    there = [each for each in get_args(Precision) if (exports / onnx_file(each)).is_file()]
    precisions = ",".join(dict.fromkeys(["fp32", *there, precision]))
    command = ["python", "-m", "export", "onnx", str(run), "--out", str(exports), "--precision", precisions]
    raise SetupError(f"{path.name} was not exported: {shlex.join(command)}")


def _torch_encode(way: Way, run: Path) -> Encode:
    import torch

    if way.precision == "bf16" and way.device == "cpu" and not supports_bf16():
        raise SetupError("this processor has no bf16 (AVX-512 BF16 or AMX)")
    if way.precision == "bf16" and way.device == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        raise SetupError("this GPU has no bf16")
    if way.call == "compiled" and not (shutil.which("g++") or shutil.which("clang++")):
        raise SetupError("torch.compile needs a C++ compiler")
    artifact, encoder = _network(run, way.device, is_half=way.precision == "fp16")
    visual = _compiled(encoder.visual) if way.call == "compiled" else encoder.visual
    encode = partial(_encode, artifact, encoder, visual, way.precision)
    if way.call != "one face a call":
        return encode

    def one_by_one(crops_NHWC: Crops) -> EncoderAnswer:
        answers = [encode(crop_HWC[None]) for crop_HWC in crops_NHWC]
        return EncoderAnswer(*(np.concatenate(part) for part in zip(*answers, strict=True)))

    return one_by_one


def _compiled(visual: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Compiled anew for every batch size.

    torch allows eight of them and runs eagerly beyond, with no more than a warning: here any number that can be asked
    for is compiled, and whatever is beyond is an error.
    """
    import torch

    torch._dynamo.config.recompile_limit = LARGEST_BATCH  # one for each size
    torch._dynamo.config.fail_on_recompile_limit_hit = True
    compiled: Callable[[Tensor], Tensor] = torch.compile(visual, dynamic=False)
    return compiled


@cache
def _network(run: Path, device: Device, *, is_half: bool) -> tuple[Artifact, FaceEncoder]:
    """The weights, shared by all of torch's ways of one type; the head stays FP32."""
    import torch

    from benchmarks.encoder_speed.open_clip_network import load_open_clip

    torch.backends.cudnn.allow_tf32 = False  # the patch convolution: FP32 shall mean FP32
    artifact, encoder = load_open_clip(run)
    if is_half:
        encoder.visual.half()
    return artifact, encoder.to(device)


def _encode(
    artifact: Artifact,
    encoder: FaceEncoder,
    visual: Callable[[Tensor], Tensor],
    precision: Precision,
    crops_NHWC: Crops,
) -> EncoderAnswer:
    """The fair variant of the papers' path: crops travel as bytes, all of it is torch."""
    import torch

    from lnclip.encoder import class_column

    identity = artifact.identity
    parameter = next(encoder.visual.parameters())
    with torch.inference_mode():
        spec = identity.spec
        mean, std = (torch.tensor(values, device=parameter.device) for values in (spec.mean, spec.std))
        bytes_NHWC = torch.from_numpy(crops_NHWC).to(parameter.device)
        pixels_NCHW = ((bytes_NHWC.float() / 255 - mean) / std).permute(0, 3, 1, 2).contiguous()
        with torch.autocast(parameter.device.type, torch.bfloat16, enabled=precision == "bf16"):
            features = visual(pixels_NCHW.to(parameter.dtype))
        logits, embedding = encoder.classify(features.float())
        p_fake = (logits / identity.temperature).softmax(dim=1)[:, class_column(identity, "fake"), None]
    ones = np.ones((len(crops_NHWC), 1), np.int32)
    return EncoderAnswer(
        p_fake.cpu().numpy(),
        np.full(ones.shape, identity.threshold, np.float32),
        ones * identity.artifact_id.words(),
        ones * identity.spec.spec_id.words(),
        embedding.cpu().numpy(),
    )


def _cuda_session(path: Path) -> Encode:
    import onnxruntime

    provider = "CUDAExecutionProvider"
    if provider not in onnxruntime.get_available_providers():
        raise SetupError(f"the installed ONNX Runtime has no {provider}")
    if hasattr(onnxruntime, "preload_dlls"):  # finds CUDA's libraries among Python's packages, where torch has them
        onnxruntime.preload_dlls()
    session = onnxruntime.InferenceSession(path, providers=[(provider, {"use_tf32": "0"})])  # as it is served
    if provider not in session.get_providers():  # it falls back to the processor with a warning alone
        raise SetupError(f"ONNX Runtime could not start its {provider}: its message stands above")
    names = [output.name for output in ENCODER_OUTPUTS]

    def encode(crops_NHWC: Crops) -> EncoderAnswer:
        p_fake, threshold, artifact_id, spec_id, embedding = session.run(names, {CROPS.name: crops_NHWC})
        return EncoderAnswer(p_fake, threshold, artifact_id.view(np.int32), spec_id.view(np.int32), embedding)

    return encode


def _plan_encode(precision: Precision, run: Path, exports: Path) -> Encode:
    """The plan of an export, built first where there is none."""
    from export.engine import build_engine
    from export.engine_builders import find_builder
    from export.plan_runner import PlanRunner

    path = exports / plan_file(precision)
    try:
        if not path.is_file():
            _graph(precision, run, exports)
            build_engine(exports, precision, builder="tensorrt")
        builder = find_builder(EngineManifest.load(exports / manifest_file(precision)).builder)
        return PlanRunner(path, builder).__enter__().run
    except ArtifactError as error:  # a plan is of one kind of GPU and one version: an export may hold another's
        command = ["python", "-m", "export", "engine", str(exports), "--precision", precision]
        raise SetupError(f"{error}; to build it anew: {shlex.join(command)}") from error
