"""How large the numbers inside a graph become: what decides whether FP16 can hold them.

Measured in the FP32 graph, for engines on a CPU compute FP16 graphs in FP32 and never overflow.
Legend: N crops.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from export.crops import ParityCrops
from export.report import TensorRange
from lnclip.contract import CROPS
from lnclip.onnx_session import open_session

BATCH = 4
"""Crops at once: an engine may hold many tensors of that many."""

MEASURED = ".measured"
"""End of the name of a tensor's largest magnitude."""


def measure_ranges(model: onnx.ModelProto, tensors: Sequence[str], crops: ParityCrops) -> dict[str, TensorRange]:
    """The largest magnitude in each tensor over all crops.

    Args:
        model: the FP32 graph.
        tensors: names of float tensors whose first dimension is the batch.
        crops: N of them, real and adversarial.
    """
    if not tensors:
        return {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "measured.onnx"
        onnx.save(_measured(model, tensors), path)
        session = open_session(path, 0)
        outputs = [tensor + MEASURED for tensor in tensors]
        maxima = [
            session.run(outputs, {CROPS.name: crops.crops[start : start + BATCH]})
            for start in range(0, len(crops.crops), BATCH)
        ]
    found = {}
    for tensor, parts in zip(tensors, zip(*maxima, strict=True), strict=True):
        values_N = np.concatenate(parts)
        row = int(np.nan_to_num(values_N, nan=np.inf).argmax())
        found[tensor] = TensorRange(max_abs=float(values_N[row]), crop=crops.names[row])
    return found


def _measured(model: onnx.ModelProto, tensors: Sequence[str]) -> onnx.ModelProto:
    """The graph with one output for each tensor, its largest magnitude for each crop, (B,)."""
    measured = onnx.ModelProto()
    measured.CopyFrom(model)
    graph = measured.graph
    nodes, wanted = list(graph.node), set(tensors)
    del graph.node[:], graph.output[:]
    graph.initializer.append(helper.make_tensor("measured.axes", TensorProto.INT64, [1], [1]))
    for node in nodes:
        graph.node.append(node)
        # Right behind what is measured: at the end of the graph, every tensor would be kept until then.
        for tensor in wanted.intersection(node.output):
            flat, size = f"{tensor}.measured.flat", f"{tensor}.measured.size"
            graph.node.append(helper.make_node("Flatten", [tensor], [flat], name=flat, axis=1))
            graph.node.append(helper.make_node("Abs", [flat], [size], name=size))
            most = [f"{tensor}{MEASURED}"]
            graph.node.append(helper.make_node("ReduceMax", [size, "measured.axes"], most, name=most[0], keepdims=0))
            graph.output.append(helper.make_tensor_value_info(most[0], TensorProto.FLOAT, ["batch"]))
    return measured
