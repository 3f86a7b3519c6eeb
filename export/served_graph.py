"""The encoder as it is served: uint8 crops in, calibrated p_fake, ids and embedding out.

Wraps the weights of a run in the served signature; nothing is learned or lost. Written node by node
rather than traced, so that every node is wanted, has a name, and can be given a type of its own
(``half_precision``). Legend: B crops, S their side, D width.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import onnx
from onnx import TensorProto

from export.folding import Linear, fold_scale
from export.graph_builder import Dims, GraphBuilder
from export.graph_clip import write_clip
from export.graph_dinov3 import write_dinov3
from export.graph_parts import GraphParts
from export.graph_pe import write_pe
from export.tower_weights import TowerWeights, Weights
from lnclip.architecture import Family
from lnclip.artifact import Artifact
from lnclip.contract import CROPS, ENCODER, ENCODER_OUTPUTS

ONNX_TYPE = {"UINT8": TensorProto.UINT8, "INT32": TensorProto.INT32, "FP32": TensorProto.FLOAT}

NORMALISE_EPSILON = 1e-12
"""Smallest length divided by. Source: torch.nn.functional.normalize."""

TOWERS: dict[Family, Callable[[GraphParts, TowerWeights, str], str]] = {
    "clip": write_clip,
    "pe": write_pe,
    "dinov3": write_dinov3,
}
"""What writes the nodes from pixels to the feature."""


class ServedGraph(NamedTuple):
    """A graph in FP32, and what of it FP16 is good enough for."""

    model: onnx.ModelProto
    half: frozenset[str]
    """Names of nodes."""


def build_graph(artifact: Artifact, weights: Weights) -> ServedGraph:
    """The served graph of one artifact, in FP32: other precisions are made from it.

    Args:
        artifact: what the constants of the graph say.
        weights: of the same run.
    """
    identity = artifact.identity
    sizes = {"S": identity.spec.input_px, "D": identity.encoder.width}
    builder = GraphBuilder()
    # TensorRT lets nothing but a Cast read a UINT8 input, so even the batch is taken behind it.
    pixels_NHWC = builder.node("Cast", "pixels", CROPS.name, to=TensorProto.FLOAT)
    parts = GraphParts(builder, identity, builder.node("Shape", "batch", pixels_NHWC, start=0, end=1))
    feature = TOWERS[identity.encoder.family](parts, TowerWeights(weights), pixels_NHWC)
    _write_answers(parts, feature, Linear(weights["head.weight"], weights["head.bias"]))

    def described(name: str, dtype: str, dims: tuple[int, ...]) -> tuple[str, tuple[int, Dims]]:
        return name, (ONNX_TYPE[dtype], ("batch", *dims))

    model = builder.model(
        ENCODER,
        dict([described(CROPS.name, CROPS.dtype, CROPS.shape(sizes))]),
        dict(described(spec.name, spec.dtype, spec.shape(sizes)) for spec in ENCODER_OUTPUTS),
    )
    onnx.helper.set_model_props(
        model,
        {"name": artifact.provenance.name, "artifact_id": identity.artifact_id.hex, "precision": identity.precision},
    )
    return ServedGraph(model, frozenset(builder.half))


def _write_answers(parts: GraphParts, feature: str, head: Linear) -> None:
    """The served outputs of (B, D) features."""
    graph, identity = parts.graph, parts.identity
    length = graph.node("ReduceL2", "length", feature, graph.integers(1), keepdims=1)
    smallest = graph.constant("length.smallest", np.array(NORMALISE_EPSILON, np.float32))
    embedding = graph.node("Div", "embedding", feature, graph.node("Max", "length.safe", length, smallest))
    read = embedding if identity.head == "normalised" else feature
    logits = parts.linear("logits", read, fold_scale(head, 1 / identity.temperature), exact=True)
    shares = graph.node("Softmax", "probabilities", logits, axis=-1)
    column = identity.class_order.index("fake")
    start, end, axis = graph.integers(column), graph.integers(column + 1), graph.integers(1)
    graph.node("Slice", "p_fake", shares, start, end, axis)
    values = {
        "threshold": np.array([identity.threshold], np.float32),
        "artifact_id": identity.artifact_id.words(),
        "spec_id": identity.spec.spec_id.words(),
    }
    for name, value in values.items():
        parts.per_crop(name, graph.constant(f"{name}.value", value[None]), rank=2)
