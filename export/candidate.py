"""What could become a version: its files, and the proof of what they must answer.

A candidate comes out of an export, or out of a version that was published before.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from export.engine_manifest import EngineManifest, manifest_file, plan_file
from export.report import GOLDEN_FILE, PARITY_FILE, ParityReport, model_file, onnx_file
from lnclip.artifact import Artifact, Flavour, Precision
from lnclip.engines import supports_bf16
from lnclip.errors import PublishError
from lnclip.identity import file_sha256
from server.image import TENSORRT, TRITON_IMAGE
from server.repository import encoder_adapter

ADAPTER = "model.py"
GRAPH = "model.onnx"
PLAN = "model.plan"
MANIFEST = "engine.json"


class Candidate(NamedTuple):
    """A version folder to be."""

    artifact: Artifact
    flavour: Flavour
    files: dict[str, Path]
    """All but model.json, by the names that they get; golden.npz among them."""

    max_dp: float
    """How far its answers to the golden crops may lie from the reference's."""

    @property
    def golden(self) -> Path:
        """Crops, and what the reference said of them."""
        return self.files[GOLDEN_FILE]


def from_export(exports: Path, flavour: Flavour, precision: Precision | None) -> Candidate:
    """What an export offers a flavour.

    Args:
        exports: folder of ``export onnx``, for GPUs also of ``export engine``.
        flavour: which server it is for.
        precision: None takes fp16 for GPUs; for CPUs bf16 where it was exported and this processor has
            it, else fp32. Never int8, which is to be asked for.

    Raises:
        PublishError: something is missing there, or is not what was proven.
        ArtifactError: its model.json cannot be read.
    """
    chosen: Precision = precision or _best_exported(exports, default_precisions(flavour))
    if flavour == "cpu" and chosen == "fp16":
        raise PublishError("fp16 graphs are made into plans for GPUs: --flavour gpu, or another --precision")
    artifact = _exported(exports, chosen)
    onnx = exports / onnx_file(chosen)
    max_dp = proven_limit(exports / PARITY_FILE, artifact, onnx)
    files = {GOLDEN_FILE: exports / GOLDEN_FILE, PARITY_FILE: exports / PARITY_FILE}
    if flavour == "cpu":
        files |= {GRAPH: onnx, ADAPTER: encoder_adapter()}
    else:
        files |= {PLAN: _proven_plan(exports, chosen), MANIFEST: exports / manifest_file(chosen)}
    return Candidate(artifact, flavour, files, max_dp)


def from_version(version: Path) -> Candidate:
    """A published version, to be published again.

    Raises:
        PublishError: it was published without golden crops, so nothing could be checked.
        ArtifactError: its model.json cannot be read.
    """
    artifact = Artifact.load(version / "model.json")
    if artifact.runtime is None or not (version / PARITY_FILE).is_file():
        raise PublishError(f"{version} has no {PARITY_FILE} to be checked by: publish its export again")
    is_plan = artifact.runtime.flavour == "gpu"
    names = (GOLDEN_FILE, PARITY_FILE, *((PLAN, MANIFEST) if is_plan else (GRAPH,)))
    files = {name: version / name for name in names}
    if not is_plan:
        files[ADAPTER] = encoder_adapter()
    max_dp = proven_limit(version / PARITY_FILE, artifact, None if is_plan else version / GRAPH)
    return Candidate(artifact, artifact.runtime.flavour, files, max_dp)


def default_precisions(flavour: Flavour) -> list[Precision]:
    """What a flavour is served in unless somebody asks for another, the best first."""
    if flavour == "gpu":
        return ["fp16"]
    return ["bf16", "fp32"] if supports_bf16() else ["fp32"]


def _best_exported(exports: Path, offered: list[Precision]) -> Precision:
    return next((precision for precision in offered if (exports / model_file(precision)).is_file()), offered[-1])


def _exported(exports: Path, precision: Precision) -> Artifact:
    """What an export says of one of its graphs."""
    path = exports / model_file(precision)
    if not path.is_file():
        raise PublishError(
            f"{exports} holds no {precision} export: python -m export onnx RUN --out {exports} --precision {precision}"
        )
    return Artifact.load(path)


def proven_limit(parity: Path, artifact: Artifact, onnx: Path | None) -> float:
    """How far an artifact's answers may lie from the reference's.

    Args:
        parity: the export's parity.json.
        artifact: must be one of those that it speaks of.
        onnx: the graph, which must be the very file; None where only its plan is.

    Raises:
        PublishError: parity.json proves something else.
    """
    identity = artifact.identity
    try:
        report = ParityReport.model_validate_json(parity.read_bytes())
    except (OSError, ValidationError) as error:
        raise PublishError(f"{parity} cannot be read: {error}. Export again.") from error
    name = onnx_file(identity.precision)
    found = [each for each in report.comparisons if each.artifact_id == identity.artifact_id.hex]
    is_same = onnx is None or (onnx.is_file() and report.sha256.get(name) == file_sha256(onnx))
    if not found or not is_same:
        raise PublishError(f"{parity} does not prove {name} and {model_file(identity.precision)}: export again")
    return min(each.limits.max_dp for each in found)  # INT8's golden answers are its own, with a limit of theirs


def _proven_plan(exports: Path, precision: Precision) -> Path:
    """The plan of an export, if Triton's image can load it.

    Raises:
        PublishError: there is none, or it is not of this graph, this builder or this TensorRT.
    """
    plan = exports / plan_file(precision)
    build = f"python -m export engine {exports} --precision {precision} --builder tensorrt"
    if not plan.is_file():
        raise PublishError(f"{exports} holds no {plan.name}: {build}")
    manifest = EngineManifest.load(exports / manifest_file(precision))
    if manifest.builder != "tensorrt":
        raise PublishError(f"{plan} is a plan of {manifest.builder}, Triton loads those of tensorrt only: {build}")
    if manifest.builder_version != TENSORRT:
        raise PublishError(
            f"{plan} was built with TensorRT {manifest.builder_version}, {TRITON_IMAGE} has {TENSORRT}: "
            f"in that image, {build}"
        )
    if manifest.onnx_sha256 != file_sha256(exports / onnx_file(precision)):
        raise PublishError(f"{plan} was not built from {onnx_file(precision)} as it is there: {build}")
    if manifest.plan_sha256 != file_sha256(plan):
        raise PublishError(f"{plan} is not the file that its manifest describes: {build}")
    return plan
