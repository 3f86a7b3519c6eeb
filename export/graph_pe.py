"""Perception Encoder's image tower as nodes: a learned query pools the last norm's tokens.

Learned positions, resampled to the input's grid at export; rotary positions besides; a norm before
the blocks. Names of the weights are those of timm's Eva.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from export.folding import Linear, fold_affine, fold_scale
from export.graph_parts import Block, GraphParts
from export.rotary import half_order, pe_rotary
from export.tower_weights import TowerWeights

NUM_PREFIX = 1
"""The class token: the pooling reads it as it reads the patches."""


def write_pe(parts: GraphParts, weights: TowerWeights, pixels_NHWC: str) -> str:
    """The feature of each crop, (B, D)."""
    encoder = parts.identity.encoder
    grid = parts.identity.spec.input_px // encoder.patch_px
    trained_grid = (encoder.position_px or parts.identity.spec.input_px) // encoder.patch_px
    stored = weights.tensor("pos_embed")[0]
    patches = Linear(weights.tensor("patch_embed.proj.weight"), np.zeros(encoder.width, np.float32))
    class_token = weights.tensor("cls_token")[0] + stored[:NUM_PREFIX]
    tokens = parts.tokens(pixels_NHWC, patches, class_token, resampled(stored[NUM_PREFIX:], trained_grid, grid))
    tokens = parts.layer_norm("ln_pre", tokens, weights.pair("norm_pre"))
    rotary = pe_rotary(grid, trained_grid, encoder.width // encoder.heads, NUM_PREFIX)
    for index in range(encoder.layers):
        tokens = parts.block(f"block.{index}", _block(weights, f"blocks.{index}", encoder.heads), tokens, rotary)
    return _pooled(parts, weights, parts.layer_norm("ln_post", tokens))


def resampled(positions_TD: NDArray[np.float32], stored: int, wanted: int) -> NDArray[np.float32]:
    """Positions of a square grid, at those of another.

    Args:
        positions_TD: (stored * stored, D).
        stored: patches along a side that they are for.
        wanted: patches along a side of the input.

    Source: timm.layers.pos_embed.resample_abs_pos_embed.
    """
    if stored == wanted:
        return positions_TD
    import torch  # seconds

    maps = torch.from_numpy(positions_TD.copy()).reshape(1, stored, stored, -1).permute(0, 3, 1, 2)
    maps = torch.nn.functional.interpolate(maps, (wanted, wanted), mode="bicubic", antialias=True)
    return maps.permute(0, 2, 3, 1).reshape(wanted * wanted, -1).numpy()


def _block(weights: TowerWeights, name: str, heads: int) -> Block:
    query, key, value = weights.pair(f"{name}.attn.qkv").split(3)
    return Block(
        weights.pair(f"{name}.norm1"),
        half_order(query, heads),
        half_order(key, heads),
        value,
        weights.pair(f"{name}.attn.proj"),
        weights.pair(f"{name}.norm2"),
        weights.pair(f"{name}.mlp.fc1"),
        weights.pair(f"{name}.mlp.fc2"),
    )


def _pooled(parts: GraphParts, weights: TowerWeights, normed: str) -> str:
    """Attention of the learned query over all tokens and a residual perceptron, (B, D).

    The last norm's affine is folded into K and V, its only readers; the query's projection is a constant.
    """
    from lnclip.towers import PE_POOL_HEADS  # seconds, for it imports timm

    graph, name, width = parts.graph, "pool", parts.width // PE_POOL_HEADS
    key, value = (fold_affine(*weights.pair("norm"), half) for half in weights.pair("attn_pool.kv").split(2))
    ask = weights.pair("attn_pool.q")
    query = ask.weight.astype(np.float64) @ weights.tensor("attn_pool.latent")[0, 0] + ask.bias
    query_BHTd = graph.constant(
        f"{name}.attention.query", (query * width**-0.25).astype(np.float32).reshape(1, PE_POOL_HEADS, 1, width)
    )
    key_BHdT = parts.heads_of(
        f"{name}.attention.key", normed, fold_scale(key, width**-0.25), PE_POOL_HEADS, transposed=True
    )
    value_BHTd = parts.heads_of(f"{name}.attention.value", normed, value, PE_POOL_HEADS)
    pooled = parts.attention(f"{name}.attention", query_BHTd, key_BHdT, value_BHTd, weights.pair("attn_pool.proj"))
    widen = fold_affine(*weights.pair("attn_pool.norm"), weights.pair("attn_pool.mlp.fc1"))
    changed = parts.perceptron(
        f"{name}.mlp", parts.layer_norm(f"{name}.ln", pooled), widen, weights.pair("attn_pool.mlp.fc2")
    )
    feature = graph.node("Add", f"{name}.out", pooled, changed)
    return graph.node("Squeeze", "feature", feature, graph.integers(1))
