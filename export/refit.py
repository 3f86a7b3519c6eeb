"""Other weights into a plan that is there: seconds where a build takes minutes. Experimental.

The plan keeps the tactics that were chosen for it; every weight of the graph is replaced, for folding
spreads a LayerNorm over the linear layers behind it. It passes the same gate as a plan built anew.
"""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

import onnx

from export.candidate import proven_limit
from export.engine import check_refit_possible, write_plan
from export.engine_builders import find_builder, find_gpu, make_logger
from export.engine_manifest import EngineManifest, log_file, manifest_file, plan_file
from export.report import PARITY_FILE, model_file, onnx_file
from lnclip.artifact import Artifact, Precision
from lnclip.errors import ArtifactError, SetupError
from lnclip.identity import file_sha256

log = logging.getLogger(__name__)


def refit_engine(exports: Path, base: Path, precision: Precision = "fp16") -> EngineManifest:
    """Make an export's plan out of another export's refittable one.

    Args:
        exports: folder of ``export onnx`` with the new weights; gets the plan.
        base: folder of an earlier export of the same architecture, with a plan built ``--refittable``.
        precision: of both.

    Raises:
        SetupError: there is no GPU, not the builder of the plan, or a TensorRT that must not be refitted.
        ArtifactError: the plan is not refittable, or the graphs do not match weight by weight.
        ParityError: the plan answers otherwise than the reference.
    """
    manifest = EngineManifest.load(base / manifest_file(precision))
    found, gpu = find_builder(manifest.builder), find_gpu()
    check_refit_possible(found, gpu)
    plan, graph = base / plan_file(precision), exports / onnx_file(precision)
    if not manifest.refittable:
        raise ArtifactError(f"{plan} cannot take other weights: python -m export engine {base} --refittable")
    if (found.version, gpu.name if gpu else None) != (manifest.builder_version, manifest.gpu):
        raise SetupError(f"{plan} was built with {manifest.builder} {manifest.builder_version} on {manifest.gpu}")
    artifact = Artifact.load(exports / model_file(precision))
    max_dp = proven_limit(exports / PARITY_FILE, artifact, graph)
    if differences := unmatched(base / onnx_file(precision), graph):
        raise ArtifactError(f"{graph} does not fit the plan of {base}: {'; '.join(differences[:3])}. Build it anew")
    logger = make_logger(found, exports / log_file(precision))
    engine = found.api.Runtime(logger).deserialize_cuda_engine(plan.read_bytes())
    if engine is None:
        raise ArtifactError(f"{plan} does not load: {exports / log_file(precision)} says why")
    refitter = found.api.Refitter(engine, logger)
    parser = found.api.OnnxParserRefitter(refitter, logger)
    if not parser.refit_from_file(str(graph)) or not refitter.refit_cuda_engine():
        raise ArtifactError(f"{plan} did not take the weights: {exports / log_file(precision)} says why")
    settings = engine.create_serialization_config()
    settings.clear_flag(found.api.SerializationFlag.EXCLUDE_WEIGHTS)
    stays_refittable = getattr(found.api.SerializationFlag, "INCLUDE_REFIT", None)  # tensorrt 10.14 or later
    if stays_refittable is not None:
        settings.set_flag(stays_refittable)
    refitted = bytes(engine.serialize_with_config(settings))
    changed = {
        "onnx_sha256": file_sha256(graph),
        "plan_sha256": hashlib.sha256(refitted).hexdigest(),
        "refitted_from": manifest.plan_sha256,
        "refittable": stays_refittable is not None,
    }
    return write_plan(exports, artifact, refitted, manifest.model_copy(update=changed), max_dp)


def unmatched(old: Path, new: Path) -> list[str]:
    """What keeps one graph's weights from taking the places of another's: nothing, for two runs of one architecture."""
    ours, theirs = (_signature(onnx.load(path).graph) for path in (old, new))
    return [
        f"{name} is {theirs.get(name, 'missing')}, was {ours.get(name, 'missing')}"
        for name in sorted(ours.keys() | theirs.keys())
        if ours.get(name) != theirs.get(name)
    ]


def _signature(graph: onnx.GraphProto) -> dict[str, str]:
    """Every constant with its type and shape, and every node with what it reads."""
    kinds = onnx.TensorProto.DataType
    constants = {tensor.name: f"{kinds.Name(tensor.data_type)} {list(tensor.dims)}" for tensor in graph.initializer}
    return constants | {f"node {node.name}": f"{node.op_type} of {', '.join(node.input)}" for node in graph.node}
