"""A detector's torch module -> an ONNX file; the encoder's export is another matter.

The exporter writes source paths and stack traces of this machine into its nodes: they are taken out.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn

OPSET = 20


def write_graph(
    module: nn.Module,
    example: Tensor,
    outputs: Sequence[str],
    free: Mapping[str, Mapping[int, object]],
    path: Path,
) -> None:
    """Export ``module`` for inputs like ``example``.

    Args:
        module: one input, in the order of ``outputs`` its answers.
        example: an input; sides that may vary should be neither 0 nor 1.
        outputs: names of the answers.
        free: which of the input's dimensions may vary, under the input's name.
        path: written whole.
    """
    for name in ("torch.onnx", "onnxscript", "onnx_ir"):  # they report every pass
        logging.getLogger(name).setLevel(logging.ERROR)
    program = torch.onnx.export(
        module.eval(),
        (example,),
        input_names=list(free),
        output_names=list(outputs),
        dynamic_shapes=tuple(dict(sides) for sides in free.values()),
        opset_version=OPSET,
        dynamo=True,
        verbose=False,
    )
    assert program is not None  # noqa: S101 - what dynamo=True returns, for the type checker
    model = program.model_proto
    _forget_origin(model)
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString(deterministic=True))


def _forget_origin(model: onnx.ModelProto) -> None:
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.initializer, *graph.input, *graph.output, *graph.value_info):
        part.ClearField("doc_string")
        part.ClearField("metadata_props")
