"""DINOv3's image tower as nodes: class token after the last norm.

Class token and four registers before the patches, rotary positions on the patches alone, a layer
scale behind each half of a block, and no bias of K. Names of the weights are those of timm's Eva.
"""

from __future__ import annotations

import numpy as np

from export.folding import Linear, fold_scale
from export.graph_parts import Block, GraphParts
from export.rotary import dinov3_rotary
from export.tower_weights import TowerWeights


def write_dinov3(parts: GraphParts, weights: TowerWeights, pixels_NHWC: str) -> str:
    """The feature of each crop, (B, D)."""
    encoder = parts.identity.encoder
    prefix = np.concatenate([weights.tensor("cls_token")[0], weights.tensor("reg_token")[0]])
    tokens = parts.tokens(pixels_NHWC, weights.pair("patch_embed.proj"), prefix, None)
    grid = parts.identity.spec.input_px // encoder.patch_px
    rotary = dinov3_rotary(grid, encoder.width // encoder.heads, len(prefix))
    for index in range(encoder.layers):
        block = _block(weights, f"blocks.{index}")
        tokens = parts.block(f"block.{index}", block, tokens, rotary, class_token_only=index == encoder.layers - 1)
    feature = parts.graph.node("Squeeze", "class_token", tokens, parts.graph.integers(1))
    return parts.layer_norm("ln_post", feature, weights.pair("norm"))


def _block(weights: TowerWeights, name: str) -> Block:
    key = weights.tensor(f"{name}.attn.k_proj.weight")
    return Block(
        weights.pair(f"{name}.norm1"),
        weights.pair(f"{name}.attn.q_proj"),
        Linear(key, np.zeros(len(key), np.float32)),
        weights.pair(f"{name}.attn.v_proj"),
        fold_scale(weights.pair(f"{name}.attn.proj"), weights.tensor(f"{name}.gamma_1")),
        weights.pair(f"{name}.norm2"),
        weights.pair(f"{name}.mlp.fc1"),
        fold_scale(weights.pair(f"{name}.mlp.fc2"), weights.tensor(f"{name}.gamma_2")),
    )
