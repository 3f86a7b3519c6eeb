"""A run's weights -> the ONNX file and the model.json of each precision."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import onnx

from export.crops import ParityCrops
from export.half_precision import LARGEST, check_ranges, choose_half, tensors_to_measure, typed_graph
from export.ranges import measure_ranges
from export.report import HalfReport, Int8Report, model_file, onnx_file
from export.served_graph import ServedGraph, build_graph
from lnclip.artifact import Artifact, Precision

log = logging.getLogger(__name__)


class GraphFile(NamedTuple):
    """A graph that was written, to be compared with the reference before the next one is made."""

    path: Path
    artifact: Artifact
    computed_as: Precision
    """Whose engines and limits it is held to."""

    fp16: HalfReport | None = None
    int8: Int8Report | None = None


def write_graphs(run: Path, folder: Path, precisions: Sequence[Precision], crops: ParityCrops) -> Iterator[GraphFile]:
    """Each precision's graph and model.json, made from the same FP32 one.

    INT8's limits are too wide to tell a wrong graph from a coarse one, so the graph that is to be
    quantised is handed out first, unless FP32 is exported anyway.

    Args:
        run: folder with weights.safetensors and model.json.
        folder: to write into.
        precisions: each becomes an artifact of its own.
        crops: over which FP16's ranges are measured and INT8 is calibrated.

    Raises:
        ArtifactError: the run cannot be loaded.
        ParityError: FP16 cannot hold a tensor that must be FP16.
    """
    for precision in dict.fromkeys(precisions):
        artifact, graph = _fp32_graph(run, precision)
        path = folder / onnx_file(precision)
        written = GraphFile(path, artifact, precision)
        if precision == "fp16":
            model, report = half_graph(graph, crops)
            _save(model, path)
            written = written._replace(fp16=report)
        elif precision == "int8":
            if "fp32" not in precisions:
                _save(graph.model, path)
                yield GraphFile(path, artifact, "fp32")
            quantised, calibrated = int8_graph(graph.model, crops)
            _save(quantised, path)
            written = written._replace(int8=calibrated)
        else:
            _save(graph.model, path)
        artifact.save(folder / model_file(precision))
        log.info("wrote %s, artifact %s", path.name, artifact.identity.artifact_id.hex)
        yield written


def _fp32_graph(run: Path, precision: Precision) -> tuple[Artifact, ServedGraph]:
    """What a precision is made from. The weights are read anew for each, to be let go of in between."""
    from lnclip.encoder import load_run  # seconds: only once the rest of the request is known to be sound

    source, encoder = load_run(run)
    identity = source.identity.model_copy(update={"precision": precision})
    artifact = source.model_copy(update={"identity": identity, "runtime": None})
    return artifact, build_graph(artifact, {name: tensor.numpy() for name, tensor in encoder.state_dict().items()})


def _save(model: onnx.ModelProto, path: Path) -> None:
    onnx.save(model, path)
    onnx.checker.check_model(path, full_check=True)


def half_graph(graph: ServedGraph, crops: ParityCrops) -> tuple[onnx.ModelProto, HalfReport]:
    """The FP16 graph, its islands decided by what the crops make of the tensors.

    Raises:
        ParityError: FP16 cannot hold a tensor that must be FP16.
    """
    ranges = measure_ranges(graph.model, tensors_to_measure(graph), crops)
    half = choose_half(graph, ranges)
    model = typed_graph(graph.model, half)
    islands = sorted(graph.half - half)
    if islands:
        log.warning("%d nodes stay FP32, FP16 cannot hold their numbers: %s", len(islands), ", ".join(islands[:5]))
    return model, HalfReport(largest_allowed=LARGEST, islands=islands, ranges=check_ranges(model, ranges))


def int8_graph(model: onnx.ModelProto, crops: ParityCrops) -> tuple[onnx.ModelProto, Int8Report]:
    """The INT8 graph."""
    from export.quantisation import count_products, quantised_graph  # NNCF: seconds

    chosen = crops.calibration()
    log.info("calibrating int8 on %d crops (%s)", len(chosen), crops.source)
    quantised = quantised_graph(model, chosen)
    inside, products = count_products(quantised)
    report = Int8Report(source=crops.source, num_crops=len(chosen), quantised_products=inside, products=products)
    return quantised, report
