"""The arithmetic that moves constant scales and shifts into the linear layer behind or before them.

All in float64 and rounded once at the end. What a fold may not cross: a LayerNorm whose output the
L2 normalisation reads (``ln_post``), for the length that the affine changes is divided away again.
Legend: O outputs, I inputs, P patch side.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]


class Linear(NamedTuple):
    """y = weight @ x + bias; or a convolution, whose weight has more dimensions behind."""

    weight: Array
    """(O, I, ...)."""

    bias: Array
    """(O,)."""

    def rounded(self) -> Linear:
        """In float32, as the graph stores it."""
        return Linear(self.weight.astype(np.float32), self.bias.astype(np.float32))

    def split(self, parts: int) -> list[Linear]:
        """A packed layer (Q, K and V) as its parts, equally many outputs each."""
        pairs = zip(np.split(self.weight, parts), np.split(self.bias, parts), strict=True)
        return [Linear(weight, bias) for weight, bias in pairs]


MIDDLE = 128
"""Taken off the pixels before the patch convolution: exact in every float type, and without it flat
bright patches cancel in sums of 255s. Seen on the demo's weights in ONNX Runtime: largest error of
p 3.4e-6 instead of 1.4e-5, which is beyond the limit of parity."""


def fold_pixels(patches: Linear, mean: tuple[float, ...], std: tuple[float, ...]) -> Linear:
    """A patch convolution over normalised pixels becomes one over 0..255 less ``MIDDLE``.

    Exact because the patches do not overlap the border: there is no padding whose zeros would mean
    another colour.

    Args:
        patches: weight (O, 3, P, P).
        mean: of each channel, after /255.
        std: of each channel, after /255.
    """
    weight_64 = patches.weight.astype(np.float64) / np.asarray(std)[:, None, None]
    shift = (weight_64 * (MIDDLE / 255.0 - np.asarray(mean))[:, None, None]).sum(axis=(1, 2, 3))
    return Linear(weight_64 / 255.0, patches.bias + shift)


def fold_affine(gain: Array, shift: Array, layer: Linear) -> Linear:
    """``layer(gain * x + shift)`` as one layer of ``x``.

    Args:
        gain: (I,), a LayerNorm's weight.
        shift: (I,), its bias.
        layer: the only reader of that LayerNorm.
    """
    weight = layer.weight.astype(np.float64)
    return Linear(weight * gain.astype(np.float64), layer.bias + weight @ shift.astype(np.float64))


def fold_scale(layer: Linear, factor: float | Array) -> Linear:
    """``factor * layer(x)`` as one layer: a temperature, the attention's scale, or a layer scale.

    Args:
        layer: (O, I).
        factor: one number, or one for each output, (O,).
    """
    factors = np.broadcast_to(np.asarray(factor, np.float64), layer.bias.shape)
    return Linear(layer.weight.astype(np.float64) * factors[:, None], layer.bias.astype(np.float64) * factors)
