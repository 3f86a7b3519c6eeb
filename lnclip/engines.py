"""The same crops through torch, ONNX Runtime or OpenVINO: one protocol, comparable answers.

    with TorchRunner(run) as reference, OpenVinoRunner(path, "fp32") as candidate:
        difference = candidate.run(crops).p_fake - reference.run(crops).p_fake

An engine is imported when a runner is entered; the serving environment has no torch. Legend: B
crops, S their side, D embedding size.
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from lnclip.artifact import Precision
from lnclip.contract import ENCODER_OUTPUTS
from lnclip.errors import ArtifactError, SetupError
from lnclip.onnx_session import open_session
from lnclip.preprocess import normalise

if TYPE_CHECKING:
    from collections.abc import Callable

    import openvino

Crops = NDArray[np.uint8]
Floats = NDArray[np.float32]
Words = NDArray[np.int32]

OPENVINO_PRECISION: dict[Precision, str] = {"fp32": "f32", "bf16": "bf16", "fp16": "f32", "int8": "f32"}
"""OpenVINO's own default is bf16 wherever the processor has it, so it is always told. Of an int8 graph
this is what the rest is computed in (bf16 there was seen to be slower)."""

OPENVINO_ARITHMETIC: dict[Precision, str] = {
    "fp32": "float32",
    "bf16": "bfloat16",
    "fp16": "float32 with weights rounded to FP16",
    "int8": "int8 where the graph quantises, float32 elsewhere",
}
"""What it then computes in, for reports."""


class EncoderAnswer(NamedTuple):
    """What the encoder says of B crops: the served outputs, in the order of the contract."""

    p_fake: Floats
    """(B, 1), calibrated."""

    threshold: Floats
    """(B, 1), all the same."""

    artifact_id: Words
    """(B, 2), all the same."""

    spec_id: Words
    """(B, 2), all the same."""

    embedding: Floats
    """(B, D), unit length."""


class Runner(Protocol):
    """A model that can be loaded. Entering allocates, leaving frees; ``name`` labels reports."""

    name: str
    arithmetic: str
    """What it computes in, for reports."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...

    def run(self, crops_NHWC: Crops) -> EncoderAnswer:
        """(B, S, S, 3) uint8 RGB -> the served outputs."""
        ...


def finite_rows(answer: EncoderAnswer) -> NDArray[np.bool_]:
    """Which of the B rows hold numbers throughout, (B,); the others must never become a verdict."""
    return np.asarray(np.isfinite(answer.p_fake).all(axis=1) & np.isfinite(answer.embedding).all(axis=1))


def supports_bf16() -> bool:
    """Whether OpenVINO computes in bf16 on this processor."""
    import openvino

    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def processor() -> str:
    """The name of this machine's processor."""
    import openvino

    return str(openvino.Core().get_property("CPU", "FULL_DEVICE_NAME"))


class _Loaded:
    """What the runners share: a function that exists between enter and exit."""

    _infer: Callable[[Crops], EncoderAnswer] | None = None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Let go of the engine and its memory."""
        self._infer = None

    def run(self, crops_NHWC: Crops) -> EncoderAnswer:
        """(B, S, S, 3) uint8 RGB -> the served outputs.

        Raises:
            ValueError: not crops, or the runner was not entered.
        """
        if self._infer is None:
            raise ValueError("a runner works inside its with block only")
        if crops_NHWC.dtype != np.uint8 or crops_NHWC.ndim != 4 or crops_NHWC.shape[-1] != 3:
            raise ValueError(f"crops are {crops_NHWC.dtype} {crops_NHWC.shape}, must be uint8 (B, S, S, 3)")
        return self._infer(crops_NHWC)


class TorchRunner(_Loaded):
    """The reference: a run's weights, unfolded, in torch on the CPU."""

    def __init__(self, run: Path) -> None:
        """``run`` is a folder with model.json and weights.safetensors."""
        self.name, self.arithmetic, self.path = "torch fp32", "float32", run

    def __enter__(self) -> Self:
        """Load and check the weights."""
        import torch

        from lnclip.encoder import class_column, load_run

        artifact, encoder = load_run(self.path)
        identity = artifact.identity
        fake = class_column(identity, "fake")

        def infer(crops_NHWC: Crops) -> EncoderAnswer:
            with torch.inference_mode():
                logits, embedding = encoder(torch.from_numpy(normalise(crops_NHWC, identity.spec)))
                p_fake = (logits / identity.temperature).softmax(dim=1)[:, fake, None]
            ones = np.ones((len(crops_NHWC), 1), np.int32)
            return EncoderAnswer(
                p_fake.numpy(),
                np.full(ones.shape, identity.threshold, np.float32),
                ones * identity.artifact_id.words(),
                ones * identity.spec.spec_id.words(),
                embedding.numpy(),
            )

        self._infer = infer
        return self


class OnnxRuntimeRunner(_Loaded):
    """An exported graph in ONNX Runtime on the CPU."""

    def __init__(self, onnx: Path, precision: Precision = "fp32", *, threads: int | None = None) -> None:
        """``precision`` is the graph's; ``threads`` None lets the engine take all cores."""
        self.name, self.path, self.threads = f"onnxruntime {precision}", onnx, threads
        self.arithmetic = "as the graph is typed; FP16 nodes in float32"

    def __enter__(self) -> Self:
        """Load the graph.

        Raises:
            ArtifactError: the file is missing or damaged.
        """
        session = open_session(self.path, self.threads or 0)
        names = [output.name for output in ENCODER_OUTPUTS]

        def infer(crops_NHWC: Crops) -> EncoderAnswer:
            p_fake, threshold, artifact_id, spec_id, embedding = session.run(names, {"crops": crops_NHWC})
            return EncoderAnswer(p_fake, threshold, artifact_id.view(np.int32), spec_id.view(np.int32), embedding)

        self._infer = infer
        return self


def openvino_settings(precision: Precision, threads: int | None, streams: int | None = None) -> dict[str, object]:
    """How OpenVINO is told to compute; None lets it take all cores, and all of them for each batch."""
    settings: dict[str, object] = {
        "INFERENCE_PRECISION_HINT": OPENVINO_PRECISION[precision],
        "PERFORMANCE_HINT": "LATENCY",  # one stream: every batch has all the cores
    }
    given = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": streams}  # numbers outrank the hint
    return settings | {name: value for name, value in given.items() if value is not None}


class OpenVinoRunner(_Loaded):
    """An exported graph in OpenVINO on the CPU, in a stated precision."""

    def __init__(
        self, onnx: Path, precision: Precision, *, threads: int | None = None, streams: int | None = None
    ) -> None:
        """``threads`` None lets the engine take all cores.

        ``streams`` cut every batch into that many parts, computed side by side by threads / streams each.
        """
        self.name, self.path = f"openvino {precision}", onnx
        self.precision, self.threads, self.streams = precision, threads, streams
        self.arithmetic = OPENVINO_ARITHMETIC[precision]

    def __enter__(self) -> Self:
        """Compile the graph.

        Raises:
            SetupError: this processor does not have the precision.
            ArtifactError: the file is missing or damaged.
        """
        import openvino

        if self.precision == "bf16" and not supports_bf16():
            raise SetupError("this processor has no bf16 (AVX-512 BF16 or AMX): use --precision fp32 here")
        settings = openvino_settings(self.precision, self.threads, self.streams)
        try:
            compiled: openvino.CompiledModel = openvino.Core().compile_model(self.path, "CPU", settings)
        except RuntimeError as error:
            raise ArtifactError(f"{self.path} cannot be compiled by OpenVINO: {error}") from error
        requests = [compiled.create_infer_request() for _ in range(self.streams or 1)]
        names = [output.name for output in ENCODER_OUTPUTS]

        def infer(crops_NHWC: Crops) -> EncoderAnswer:
            parts = np.array_split(crops_NHWC, max(1, min(len(requests), len(crops_NHWC))))
            busy = requests[: len(parts)]
            for request, part in zip(busy, parts, strict=True):
                request.start_async({"crops": part})
            for request in busy:
                request.wait()
            # Copied: a request writes its next answer into the same memory.
            return EncoderAnswer(*(np.concatenate([each.get_tensor(name).data for each in busy]) for name in names))

        self._infer = infer
        return self
