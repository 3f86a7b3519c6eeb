"""CLIP's image tower as nodes: class token after ``ln_post``, before the projection.

Names of the weights are those of open_clip's VisionTransformer.
"""

from __future__ import annotations

import numpy as np

from export.folding import Linear
from export.graph_parts import Block, GraphParts
from export.tower_weights import TowerWeights


def write_clip(parts: GraphParts, weights: TowerWeights, pixels_NHWC: str) -> str:
    """The feature of each crop, (B, D)."""
    positions = weights.tensor("positional_embedding")
    patches = Linear(weights.tensor("conv1.weight"), np.zeros(parts.width, np.float32))
    class_token = (weights.tensor("class_embedding") + positions[0])[None]
    tokens = parts.tokens(pixels_NHWC, patches, class_token, positions[1:])
    tokens = parts.layer_norm("ln_pre", tokens, weights.pair("ln_pre"))
    layers = parts.identity.encoder.layers
    for index in range(layers):
        block = _block(weights, f"transformer.resblocks.{index}")
        tokens = parts.block(f"block.{index}", block, tokens, class_token_only=index == layers - 1)
    feature = parts.graph.node("Squeeze", "class_token", tokens, parts.graph.integers(1))
    return parts.layer_norm("ln_post", feature, weights.pair("ln_post"))


def _block(weights: TowerWeights, name: str) -> Block:
    packed = Linear(weights.tensor(f"{name}.attn.in_proj_weight"), weights.tensor(f"{name}.attn.in_proj_bias"))
    query, key, value = packed.split(3)
    return Block(
        weights.pair(f"{name}.ln_1"),
        query,
        key,
        value,
        weights.pair(f"{name}.attn.out_proj"),
        weights.pair(f"{name}.ln_2"),
        weights.pair(f"{name}.mlp.c_fc"),
        weights.pair(f"{name}.mlp.c_proj"),
    )
