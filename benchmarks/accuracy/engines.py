"""Which engines of this machine can answer with which graph of an export, and why others cannot."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Literal, NamedTuple, Protocol, Self, get_args

import numpy as np

from export.engine_manifest import EngineManifest, manifest_file, plan_file
from export.onnx_export import EMULATED
from export.parity import BATCH
from export.report import onnx_file
from lnclip.artifact import Identity, Precision
from lnclip.engines import (
    OPENVINO_ARITHMETIC,
    Crops,
    EncoderAnswer,
    OnnxRuntimeRunner,
    OpenVinoRunner,
    finite_rows,
)
from lnclip.errors import ArtifactError, ConfigError, ImageError, ParityError, SetupError
from lnclip.index import Item
from lnclip.intake import read_image
from lnclip.metrics import Floats
from lnclip.preprocess import fit_input
from lnclip.spec import PreprocessSpec

PRECISIONS: tuple[Precision, ...] = get_args(Precision)

Kind = Literal["OpenVINO", "ONNX Runtime", "emulated", "TensorRT"]

SERVED: dict[Precision, tuple[Kind, ...]] = {
    "fp32": ("OpenVINO", "ONNX Runtime"),
    "bf16": ("OpenVINO",),
    # No FP16 graph is served on a CPU, and OpenVINO would compute it in FP32: every tensor rounded to FP16
    # shows what a GPU makes of it.
    "fp16": ("emulated",),
    "int8": ("OpenVINO",),
}
"""What can run each graph without a GPU; the first is the one whose figures count where TensorRT did not answer."""


class Answering(Protocol):
    """What can be asked, a runner of ``lnclip.engines`` or a plan's."""

    name: str

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...

    def run(self, crops_NHWC: Crops) -> EncoderAnswer:
        """(B, S, S, 3) uint8 RGB -> the served outputs."""
        ...


class NotHere(NamedTuple):
    """An engine that could not be asked."""

    engine: str
    reason: str


class Candidate(NamedTuple):
    """A way to run one graph of an export."""

    precision: Precision
    kind: Kind

    @property
    def name(self) -> str:
        """For reports."""
        return f"{self.precision} {self.kind}"

    @property
    def arithmetic(self) -> str:
        """What it computes in."""
        if self.kind == "OpenVINO":
            return OPENVINO_ARITHMETIC[self.precision]
        return {"ONNX Runtime": "float32", "emulated": EMULATED, "TensorRT": "as the graph is typed, on a GPU"}[
            self.kind
        ]


def candidates(exports: Path) -> list[Candidate | NotHere]:
    """What could answer with an export's graphs, in the order of the precisions.

    Args:
        exports: folder of ``export onnx``; plans of ``export engine`` in it are taken on a GPU.

    Raises:
        ConfigError: there is no graph in it.
    """
    found: list[Candidate | NotHere] = []
    for precision in PRECISIONS:
        if not (exports / onnx_file(precision)).is_file():
            found.append(NotHere(precision, f"not exported: export onnx RUN --out EXPORTS --precision {precision}"))
            continue
        found += [Candidate(precision, kind) for kind in SERVED[precision]]
        if (exports / plan_file(precision)).is_file():
            found.append(Candidate(precision, "TensorRT"))
    if all(isinstance(each, NotHere) for each in found):
        raise ConfigError(f"{exports} holds no graph: python -m export onnx RUN --out {exports}")
    return found


@contextmanager
def opened(candidate: Candidate, exports: Path, scratch: Path) -> Iterator[Answering]:
    """The candidate's runner, entered.

    Args:
        candidate: of ``candidates``.
        exports: where its graph is.
        scratch: for a graph that is made for the occasion.

    Raises:
        SetupError: this machine lacks what it needs.
        ArtifactError: the graph is damaged.
    """
    with ExitStack() as stack:
        try:
            entered = stack.enter_context(_runner(candidate, exports, scratch))
        except ModuleNotFoundError as error:
            raise SetupError(f"{error.name} is not installed") from error
        except ArtifactError as error:
            if candidate.kind != "TensorRT":
                raise
            raise SetupError(str(error)) from error  # a plan of another GPU or version
        yield entered


def _runner(candidate: Candidate, exports: Path, scratch: Path) -> Answering:
    graph = exports / onnx_file(candidate.precision)
    if candidate.kind == "OpenVINO":
        return OpenVinoRunner(graph, candidate.precision)
    if candidate.kind == "ONNX Runtime":
        return OnnxRuntimeRunner(graph, candidate.precision)
    return _emulated(graph, scratch) if candidate.kind == "emulated" else _plan(candidate.precision, exports)


def _emulated(graph: Path, scratch: Path) -> Answering:
    """The FP16 graph with every FP16 tensor rounded to FP16, in ONNX Runtime."""
    import onnx

    from export.half_precision import emulated_graph

    rounded = scratch / graph.name
    onnx.save(emulated_graph(onnx.load(graph)), rounded)
    return OnnxRuntimeRunner(rounded, "fp16")


def _plan(precision: Precision, exports: Path) -> Answering:
    """TensorRT's.

    Raises:
        SetupError: there is no GPU here, or not the builder whose plan it is.
    """
    import torch

    from export.engine_builders import find_builder
    from export.plan_runner import PlanRunner

    if not torch.cuda.is_available():
        raise SetupError("no GPU")
    manifest = EngineManifest.load(exports / manifest_file(precision))
    return PlanRunner(exports / plan_file(precision), find_builder(manifest.builder))


def score(runner: Answering, items: list[Item], identity: Identity) -> Floats:
    """p_fake of every crop, (N,); files are read as they are needed, so memory does not grow with N.

    Raises:
        ConfigError: a crop cannot be read.
        ParityError: an answer is no number, or of other weights.
    """
    parts = []
    for start in range(0, len(items), BATCH):
        batch = items[start : start + BATCH]
        answer = runner.run(_read(batch, identity.spec))
        if not (answer.artifact_id == identity.artifact_id.words()).all():
            raise ParityError(f"{runner.name} answers for other weights than its model.json names: export again")
        if not (finite := finite_rows(answer)).all():
            raise ParityError(f"{runner.name} answers NaN or infinity for {batch[int(finite.argmin())].path}")
        parts.append(answer.p_fake[:, 0].astype(np.float64))
    return np.concatenate(parts)


def _read(items: list[Item], spec: PreprocessSpec) -> Crops:
    """(B, S, S, 3)."""
    crops = []
    for item in items:
        try:
            crops.append(fit_input(read_image(item.path.read_bytes()).pixels, spec))
        except (OSError, ImageError) as error:
            raise ConfigError(f"{item.path} cannot be read: {error}") from error
    return np.stack(crops)
