"""Rotary position embeddings as constants: the angles by which Q and K are turned at each patch.

The two families pair the dimensions of a head differently: DINOv3 turns i with i + d/2, PE turns 2i
with 2i + 1. Scores do not change when Q and K are permuted alike, so PE's rows are brought into
DINOv3's order (``half_order``), and the graph knows one form. Legend: T tokens, d head size.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from export.folding import Linear

Floats = NDArray[np.float32]

PE_TEMPERATURE, PE_OFFSET = 10000.0, 1.0
"""Of the frequencies; added to the patches' numbers. Source: timm models/eva.py, vit_pe_core_*."""

DINOV3_TEMPERATURE = 100.0
"""Source: timm models/eva.py, vit_*_patch16_dinov3."""


class Rotary(NamedTuple):
    """x -> x * cos + (second half of x, first half of x) * sin, for each token and head."""

    cos: Floats
    """(T, d); 1 for tokens that are no patch."""

    sin: Floats
    """(T, d), its first half negated; 0 for tokens that are no patch."""


def pe_rotary(grid: int, trained_grid: int, head_width: int, num_prefix: int) -> Rotary:
    """Of PE: numbers of the patches, x before y, stretched to the grid that was trained on.

    Args:
        grid: patches along a side.
        trained_grid: the same, of the side that the weights were trained for.
        head_width: d.
        num_prefix: tokens before the patches.
    """
    exponents = np.arange(head_width // 4, dtype=np.float32) / np.float32(head_width // 4)
    bands = (1 / np.float32(PE_TEMPERATURE) ** exponents).astype(np.float32)
    along = (np.arange(grid, dtype=np.float32) + np.float32(PE_OFFSET)) / np.float32(grid) * np.float32(trained_grid)
    y, x = np.meshgrid(along, along, indexing="ij")
    angles = np.stack([x, y], axis=-1).reshape(-1, 2, 1) * bands
    return _tables(angles.reshape(grid * grid, -1), num_prefix)


def dinov3_rotary(grid: int, head_width: int, num_prefix: int) -> Rotary:
    """Of DINOv3: centres of the patches, y before x, -1..1 over the crop.

    Args:
        grid: patches along a side.
        head_width: d.
        num_prefix: tokens before the patches.
    """
    exponents = 2 * np.arange(head_width // 4, dtype=np.float32) / np.float32(head_width // 2)
    periods = (np.float32(DINOV3_TEMPERATURE) ** exponents).astype(np.float32)
    along = 2 * ((np.arange(grid, dtype=np.float32) + np.float32(0.5)) / np.float32(grid)) - 1
    y, x = np.meshgrid(along, along, indexing="ij")
    angles = np.float32(2 * np.pi) * np.stack([y, x], axis=-1).reshape(-1, 2, 1) / periods
    return _tables(angles.reshape(grid * grid, -1), num_prefix)


def half_order(layer: Linear, heads: int) -> Linear:
    """Outputs of Q or K with each head's even dimensions first, then the odd ones."""
    width = len(layer.bias)
    order = np.arange(width).reshape(heads, -1, 2).transpose(0, 2, 1).ravel()
    return Linear(layer.weight[order], layer.bias[order])


def _tables(angles: Floats, num_prefix: int) -> Rotary:
    """Of (patches, d / 2) angles."""
    cos, sin = np.cos(angles), np.sin(angles)
    still = np.zeros((num_prefix, 2 * angles.shape[1]), np.float32)
    return Rotary(
        np.concatenate([still + 1, np.concatenate([cos, cos], axis=1)]),
        np.concatenate([still, np.concatenate([-sin, sin], axis=1)]),
    )
