"""The encoder as it is served: uint8 crops in, calibrated p_fake, ids and embedding out.

Wraps the weights of a run in the served signature; nothing is learned or lost. Written node by node
rather than traced, so that every node is wanted, has a name, and can be given a type of its own.
Legend: B crops, S their side, T tokens, D width, H heads.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto

from export.folding import MIDDLE, Linear, fold_affine, fold_pixels, fold_scale
from export.graph_builder import Dims, GraphBuilder
from lnclip.artifact import Artifact, Identity
from lnclip.contract import CROPS, ENCODER, ENCODER_OUTPUTS

Weights = Mapping[str, NDArray[np.float32]]
"""``FaceEncoder.state_dict()``, names of open_clip's VisionTransformer below ``visual.``."""

ONNX_TYPE = {"UINT8": TensorProto.UINT8, "INT32": TensorProto.INT32, "FP32": TensorProto.FLOAT}

LAYER_NORM_EPSILON = 1e-5
"""Of torch.nn.LayerNorm, which open_clip uses as it is."""

NORMALISE_EPSILON = 1e-12
"""Smallest length divided by. Source: torch.nn.functional.normalize."""

QUICK_GELU_SLOPE = 1.702
"""Source: openai/CLIP model.py."""


def build_graph(artifact: Artifact, weights: Weights) -> onnx.ModelProto:
    """The served graph of one artifact: its precision is part of its identity, not of the nodes.

    Args:
        artifact: what the constants of the graph say.
        weights: of the same run.
    """
    identity = artifact.identity
    sizes = {"S": identity.spec.input_px, "D": identity.encoder.width}
    _ServedEncoder(identity, weights).write(builder := GraphBuilder())

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
    return model


class _ServedEncoder:
    """Writes one identity's nodes into a builder, from the pixels to the outputs."""

    def __init__(self, identity: Identity, weights: Weights) -> None:
        self.identity, self.weights = identity, weights
        self.width, self.heads = identity.encoder.width, identity.encoder.heads

    def write(self, graph: GraphBuilder) -> None:
        """All nodes, in the order of computation."""
        self.graph = graph
        # TensorRT lets nothing but a Cast read a UINT8 input, so even the batch is taken behind it.
        pixels_NHWC = graph.node("Cast", "pixels", CROPS.name, to=TensorProto.FLOAT)
        self.batch = graph.node("Shape", "batch", pixels_NHWC, start=0, end=1)
        tokens = self._layer_norm("ln_pre", self._tokens(pixels_NHWC), affine=True)
        layers = self.identity.encoder.layers
        for index in range(layers):
            tokens = self._block(index, tokens, class_token_only=index == layers - 1)
        feature = graph.node("Squeeze", "class_token", tokens, graph.integers(1))
        self._answers(self._layer_norm("ln_post", feature, affine=True))

    def _tokens(self, pixels_NHWC: str) -> str:
        """Class token and patches with their positions, (B, T, D)."""
        graph, patch_px = self.graph, self.identity.encoder.patch_px
        spec, positions = self.identity.spec, self._weight("positional_embedding")
        centred = graph.node(
            "Sub", "pixels.centred", pixels_NHWC, graph.constant("pixels.middle", np.array(MIDDLE, np.float32))
        )
        pixels_NCHW = graph.node("Transpose", "pixels_nchw", centred, perm=[0, 3, 1, 2])
        folded = fold_pixels(self._weight("conv1.weight"), spec.mean, spec.std).rounded()
        kernel = graph.constant("patches.weight", folded.weight)
        bias = graph.constant("patches.bias", folded.bias)
        sides = [patch_px, patch_px]
        maps = graph.node("Conv", "patches.conv", pixels_NCHW, kernel, bias, kernel_shape=sides, strides=sides)
        rows = graph.node("Reshape", "patches.flat", maps, graph.integers(0, self.width, -1))
        patches = graph.node("Transpose", "patches", rows, perm=[0, 2, 1])
        placed = graph.node("Add", "patches.placed", patches, graph.constant("patches.positions", positions[None, 1:]))
        class_token = (self._weight("class_embedding") + positions[0])[None, None]
        first = self._per_crop("tokens.class", graph.constant("class_embedding", class_token), rank=3)
        return graph.node("Concat", "tokens", first, placed, axis=1)

    def _block(self, index: int, tokens: str, *, class_token_only: bool) -> str:
        """A pre-norm block, (B, T, D) -> (B, T, D); of the last one only the class token is read, (B, 1, D)."""
        graph, name = self.graph, f"block.{index}"
        source = f"transformer.resblocks.{index}"
        normed = self._layer_norm(f"{name}.ln_1", tokens, affine=False)
        asking = normed
        if class_token_only:
            tokens = self._class_token(f"{name}.class", tokens)
            asking = self._class_token(f"{name}.ln_1.class", normed)
        attended = self._attention(f"{name}.attention", source, asking, normed)
        tokens = graph.node("Add", f"{name}.attended", tokens, attended)
        normed = self._layer_norm(f"{name}.ln_2", tokens, affine=False)
        widen = fold_affine(*self._pair(f"{source}.ln_2"), self._pair(f"{source}.mlp.c_fc"))
        hidden = self._activation(f"{name}.mlp.active", self._linear(f"{name}.mlp.widen", normed, widen))
        narrowed = self._linear(f"{name}.mlp.narrow", hidden, self._pair(f"{source}.mlp.c_proj"))
        return graph.node("Add", f"{name}.out", tokens, narrowed)

    def _attention(self, name: str, source: str, asking: str, answering: str) -> str:
        """Multi-head attention of ``asking`` tokens over ``answering`` ones.

        The scale d^-1/2 is split between the weights of Q and K: before their product is where
        TensorRT's fused kernel wants it, and there it costs nothing.
        """
        graph, head_width = self.graph, self.width // self.heads
        packed = Linear(self._weight(f"{source}.attn.in_proj_weight"), self._weight(f"{source}.attn.in_proj_bias"))
        packed = fold_affine(*self._pair(f"{source}.ln_1"), packed)
        query, key, value = map(Linear, np.split(packed.weight, 3), np.split(packed.bias, 3))
        scale = head_width**-0.25

        def project(part: str, tokens: str, layer: Linear, perm: list[int]) -> str:
            flat = self._linear(f"{name}.{part}.linear", tokens, layer)
            shape = graph.integers(0, 0, self.heads, head_width)
            return graph.node(
                "Transpose", f"{name}.{part}", graph.node("Reshape", f"{name}.{part}.heads", flat, shape), perm=perm
            )

        query_BHTd = project("query", asking, fold_scale(query, scale), [0, 2, 1, 3])
        key_BHdT = project("key", answering, fold_scale(key, scale), [0, 2, 3, 1])
        value_BHTd = project("value", answering, value, [0, 2, 1, 3])
        scores = graph.node("MatMul", f"{name}.scores", query_BHTd, key_BHdT)
        shares = graph.node("Softmax", f"{name}.softmax", scores, axis=-1)
        mixed = graph.node("MatMul", f"{name}.mix", shares, value_BHTd)
        mixed = graph.node("Transpose", f"{name}.mixed", mixed, perm=[0, 2, 1, 3])
        mixed = graph.node("Reshape", f"{name}.joined", mixed, graph.integers(0, 0, self.width))
        return self._linear(f"{name}.output", mixed, self._pair(f"{source}.attn.out_proj"))

    def _answers(self, feature: str) -> None:
        """The served outputs of (B, D) features."""
        graph, identity = self.graph, self.identity
        length = graph.node("ReduceL2", "length", feature, graph.integers(1), keepdims=1)
        smallest = graph.constant("length.smallest", np.array(NORMALISE_EPSILON, np.float32))
        embedding = graph.node("Div", "embedding", feature, graph.node("Max", "length.safe", length, smallest))
        head = fold_scale(Linear(self.weights["head.weight"], self.weights["head.bias"]), 1 / identity.temperature)
        logits = self._linear("logits", embedding if identity.head == "normalised" else feature, head)
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
            self._per_crop(name, graph.constant(f"{name}.value", value[None]), rank=2)

    def _linear(self, name: str, x: str, layer: Linear) -> str:
        """Matrix product and sum, x @ weight.T + bias over the last dimension."""
        layer = layer.rounded()
        product = self.graph.node("MatMul", f"{name}.product", x, self.graph.constant(f"{name}.weight", layer.weight.T))
        return self.graph.node("Add", name, product, self.graph.constant(f"{name}.bias", layer.bias))

    def _layer_norm(self, name: str, x: str, *, affine: bool) -> str:
        """LayerNorm over the last dimension; without ``affine`` it only standardises, the rest is folded."""
        gain, shift = self._pair(name) if affine else Linear(np.ones(self.width), np.zeros(self.width))
        constants = (
            self.graph.constant(f"{name}.gain", gain.astype(np.float32)),
            self.graph.constant(f"{name}.shift", shift.astype(np.float32)),
        )
        return self.graph.node("LayerNormalization", name, x, *constants, axis=-1, epsilon=LAYER_NORM_EPSILON)

    def _activation(self, name: str, x: str) -> str:
        """QuickGELU is no GELU: a fusion into erf-GELU would give plausible wrong scores."""
        graph = self.graph
        if self.identity.activation == "gelu":
            return graph.node("Gelu", name, x)
        slope = graph.constant(f"{name}.slope", np.array(QUICK_GELU_SLOPE, np.float32))
        gate = graph.node("Sigmoid", f"{name}.gate", graph.node("Mul", f"{name}.steeper", x, slope))
        return graph.node("Mul", name, x, gate)

    def _class_token(self, name: str, tokens: str) -> str:
        """(B, T, D) -> (B, 1, D)."""
        graph = self.graph
        return graph.node("Slice", name, tokens, graph.integers(0), graph.integers(1), graph.integers(1))

    def _per_crop(self, name: str, value: str, *, rank: int) -> str:
        """A constant with a first dimension of 1, repeated for every crop."""
        graph = self.graph
        shape = graph.node("Concat", f"{name}.shape", self.batch, graph.integers(*[1] * (rank - 1)), axis=0)
        return graph.node("Expand", name, value, shape)

    def _weight(self, name: str) -> NDArray[np.float32]:
        return self.weights[f"visual.{name}"]

    def _pair(self, name: str) -> Linear:
        """The weight and bias of a linear layer, or the gain and shift of a LayerNorm."""
        return Linear(self._weight(f"{name}.weight"), self._weight(f"{name}.bias"))
