"""The parts that every family's graph is made of: tokens, transformer blocks, attention, norms.

What may be computed in FP16 is a ``half_node``; the patch convolution, LayerNorm, softmax and the
sums of the residual stream are not. Legend: B crops, T tokens, D width, H heads, d head size, O outputs.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from export.folding import MIDDLE, Linear, fold_affine, fold_pixels, fold_scale
from export.graph_builder import GraphBuilder
from export.rotary import Rotary
from lnclip.artifact import Identity

Floats = NDArray[np.float32]

LAYER_NORM_EPSILON = 1e-5
"""Of every LayerNorm here: torch's default, which timm's towers are told too."""

QUICK_GELU_SLOPE = 1.702
"""Source: openai/CLIP model.py."""


class Block(NamedTuple):
    """The weights of a pre-norm transformer block, by what they do; a norm is (gain, shift)."""

    norm_1: Linear
    query: Linear
    key: Linear
    value: Linear
    output: Linear
    norm_2: Linear
    widen: Linear
    narrow: Linear


class GraphParts:
    """Writes parts of one identity's graph into a builder; methods return names of tensors."""

    def __init__(self, graph: GraphBuilder, identity: Identity, batch: str) -> None:
        """``batch`` is the tensor that holds B."""
        self.graph, self.identity, self.batch = graph, identity, batch
        self.width, self.heads = identity.encoder.width, identity.encoder.heads

    def tokens(self, pixels_NHWC: str, patches: Linear, prefix_PD: Floats, positions_TD: Floats | None) -> str:
        """Prefix tokens and patches with their positions, (B, T, D).

        Args:
            pixels_NHWC: float32, 0..255.
            patches: the convolution, over normalised pixels.
            prefix_PD: class token and registers, their positions added already.
            positions_TD: of the patches; None if the blocks turn Q and K instead.
        """
        graph, patch_px, spec = self.graph, self.identity.encoder.patch_px, self.identity.spec
        middle = graph.constant("pixels.middle", np.array(MIDDLE, np.float32))
        centred = graph.node("Sub", "pixels.centred", pixels_NHWC, middle)
        pixels_NCHW = graph.node("Transpose", "pixels_nchw", centred, perm=[0, 3, 1, 2])
        folded = fold_pixels(patches, spec.mean, spec.std).rounded()
        kernel = graph.constant("patches.weight", folded.weight)
        bias = graph.constant("patches.bias", folded.bias)
        sides = [patch_px, patch_px]
        maps = graph.node("Conv", "patches.conv", pixels_NCHW, kernel, bias, kernel_shape=sides, strides=sides)
        rows = graph.node("Reshape", "patches.flat", maps, graph.integers(0, self.width, -1))
        placed = graph.node("Transpose", "patches", rows, perm=[0, 2, 1])
        if positions_TD is not None:
            constant = graph.constant("patches.positions", positions_TD[None])
            placed = graph.node("Add", "patches.placed", placed, constant)
        prefix = self.per_crop("tokens.prefix", graph.constant("prefix", prefix_PD[None]), rank=3)
        return graph.node("Concat", "tokens", prefix, placed, axis=1)

    def block(
        self, name: str, weights: Block, tokens: str, rotary: Rotary | None = None, *, class_token_only: bool = False
    ) -> str:
        """A pre-norm block, (B, T, D) -> (B, T, D); or (B, 1, D) where only the class token is read after it."""
        graph = self.graph
        normed, asking = self.layer_norm(f"{name}.ln_1", tokens), None
        if class_token_only:
            tokens = graph.node("Slice", f"{name}.class", tokens, *self._first())
            asking = graph.half_node("Slice", f"{name}.ln_1.class", normed, *self._first())
        attended = self._self_attention(f"{name}.attention", weights, normed, asking, rotary)
        tokens = graph.node("Add", f"{name}.attended", tokens, attended)
        normed = self.layer_norm(f"{name}.ln_2", tokens)
        changed = self.perceptron(f"{name}.mlp", normed, fold_affine(*weights.norm_2, weights.widen), weights.narrow)
        return graph.node("Add", f"{name}.out", tokens, changed)

    def _self_attention(self, name: str, weights: Block, normed: str, asking: str | None, rotary: Rotary | None) -> str:
        """Attention of ``asking`` tokens (None: all of them) over all ``normed`` ones.

        The scale d^-1/2 is split between the weights of Q and K: before their product is where
        TensorRT's fused kernel wants it, and there it costs nothing.
        """
        query, key, value = (
            fold_affine(*weights.norm_1, layer) for layer in (weights.query, weights.key, weights.value)
        )
        scale = (self.width // self.heads) ** -0.25
        turn = None if rotary is None else self._rotary_constants(rotary)
        # The class token is no patch: it is not turned.
        query_BHTd = self.heads_of(
            f"{name}.query", asking or normed, fold_scale(query, scale), self.heads, turn=None if asking else turn
        )
        key_BHdT = self.heads_of(f"{name}.key", normed, fold_scale(key, scale), self.heads, turn=turn, transposed=True)
        value_BHTd = self.heads_of(f"{name}.value", normed, value, self.heads)
        return self.attention(name, query_BHTd, key_BHdT, value_BHTd, weights.output)

    def heads_of(
        self,
        name: str,
        x: str,
        layer: Linear,
        heads: int,
        *,
        turn: tuple[str, str] | None = None,
        transposed: bool = False,
    ) -> str:
        """Q or V as (B, H, T, d), or K ``transposed``, (B, H, d, T), of (B, T, D)."""
        graph = self.graph
        flat = self.linear(f"{name}.linear", x, layer)
        split = graph.half_node("Reshape", f"{name}.heads", flat, graph.integers(0, 0, heads, self.width // heads))
        if turn is not None:
            split = self._turned(f"{name}.turned", split, *turn)
        return graph.half_node("Transpose", name, split, perm=[0, 2, 3, 1] if transposed else [0, 2, 1, 3])

    def attention(self, name: str, query_BHTd: str, key_BHdT: str, value_BHTd: str, output: Linear) -> str:
        """softmax(Q K) V and the layer behind it, (B, T, D); Q and K are scaled already."""
        graph = self.graph
        scores = graph.half_node("MatMul", f"{name}.scores", query_BHTd, key_BHdT)
        shares = graph.node("Softmax", f"{name}.softmax", scores, axis=-1)
        mixed = graph.half_node("MatMul", f"{name}.mix", shares, value_BHTd)
        mixed = graph.half_node("Transpose", f"{name}.mixed", mixed, perm=[0, 2, 1, 3])
        mixed = graph.half_node("Reshape", f"{name}.joined", mixed, graph.integers(0, 0, self.width))
        return self.linear(f"{name}.output", mixed, output)

    def perceptron(self, name: str, x: str, widen: Linear, narrow: Linear) -> str:
        """Linear, activation, linear."""
        return self.linear(
            f"{name}.narrow", self._activation(f"{name}.active", self.linear(f"{name}.widen", x, widen)), narrow
        )

    def linear(self, name: str, x: str, layer: Linear, *, exact: bool = False) -> str:
        """Matrix product and sum, x @ weight.T + bias over the last dimension; ``exact`` keeps it in FP32."""
        graph, layer = self.graph, layer.rounded()
        node = graph.node if exact else graph.half_node
        product = node("MatMul", f"{name}.product", x, graph.constant(f"{name}.weight", layer.weight.T))
        return node("Add", name, product, graph.constant(f"{name}.bias", layer.bias))

    def layer_norm(self, name: str, x: str, affine: Linear | None = None) -> str:
        """LayerNorm over the last dimension; without an affine it only standardises, the rest is folded."""
        gain, shift = affine or (np.ones(self.width), np.zeros(self.width))
        constants = (
            self.graph.constant(f"{name}.gain", gain.astype(np.float32)),
            self.graph.constant(f"{name}.shift", shift.astype(np.float32)),
        )
        return self.graph.node("LayerNormalization", name, x, *constants, axis=-1, epsilon=LAYER_NORM_EPSILON)

    def per_crop(self, name: str, value: str, *, rank: int) -> str:
        """A constant with a first dimension of 1, repeated for every crop."""
        graph = self.graph
        shape = graph.node("Concat", f"{name}.shape", self.batch, graph.integers(*[1] * (rank - 1)), axis=0)
        return graph.node("Expand", name, value, shape)

    def _activation(self, name: str, x: str) -> str:
        """QuickGELU is no GELU: a fusion into erf-GELU would give plausible wrong scores."""
        graph = self.graph
        if self.identity.activation == "gelu":
            return graph.half_node("Gelu", name, x)
        slope = graph.constant(f"{name}.slope", np.array(QUICK_GELU_SLOPE, np.float32))
        gate = graph.half_node("Sigmoid", f"{name}.gate", graph.half_node("Mul", f"{name}.steeper", x, slope))
        return graph.half_node("Mul", name, x, gate)

    def _rotary_constants(self, rotary: Rotary) -> tuple[str, str]:
        """Names of cos and sin as (T, 1, d), stored once."""
        graph = self.graph
        names = "rotary.cos", "rotary.sin"
        for name, table in zip(names, rotary, strict=True):
            if not graph.has_constant(name):
                graph.constant(name, table[:, None])
        return names

    def _turned(self, name: str, x_BTHd: str, cos: str, sin: str) -> str:
        """The rotary embedding of Q or K, see ``export.rotary``."""
        graph, width = self.graph, self.width // self.heads
        ends = [
            graph.half_node(
                "Slice", f"{name}.{part}", x_BTHd, graph.integers(start), graph.integers(end), graph.integers(3)
            )
            for part, start, end in (("second", width // 2, width), ("first", 0, width // 2))
        ]
        swapped = graph.half_node("Concat", f"{name}.swapped", *ends, axis=3)
        along = graph.half_node("Mul", f"{name}.along", x_BTHd, cos)
        across = graph.half_node("Mul", f"{name}.across", swapped, sin)
        return graph.half_node("Add", name, along, across)

    def _first(self) -> tuple[str, str, str]:
        """Start, end and axis that leave the first token of (B, T, D)."""
        return self.graph.integers(0), self.graph.integers(1), self.graph.integers(1)
