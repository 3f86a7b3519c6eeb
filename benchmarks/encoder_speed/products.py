"""The matrix products that CLIP's image tower consists of: their shapes, and the FLOP they take.

A multiplication and the addition behind it are two FLOP; norms, softmax and activations are not counted (below
1 %). Legend: T tokens, D width, H heads.
"""

from __future__ import annotations

from typing import NamedTuple

from lnclip.architecture import EncoderArchitecture
from lnclip.errors import ConfigError


class Product(NamedTuple):
    """(rows x inner) @ (inner x columns), for a number of independent pairs of matrices."""

    name: str
    repeats: int
    """How often a pass through the network does it."""

    pairs: int
    """Of matrices in one call: 1 for a linear layer, crops x heads in attention."""

    rows: int
    inner: int
    columns: int

    @property
    def is_linear(self) -> bool:
        """Whether the right factor is a weight; in attention both are activations."""
        return self.name not in ("scores", "mix")

    @property
    def flop(self) -> int:
        """Of one call."""
        return 2 * self.pairs * self.rows * self.inner * self.columns


def products(architecture: EncoderArchitecture, input_px: int, batch: int) -> list[Product]:
    """What a pass over ``batch`` crops multiplies, every block whole.

    Raises:
        ConfigError: no CLIP tower.
    """
    if architecture.family != "clip":
        raise ConfigError(f"{architecture.name} is no CLIP encoder, whose products this counts: give one of CLIP's")
    width, layers, heads = architecture.width, architecture.layers, architecture.heads
    hidden, head_size = int(width * architecture.mlp_ratio), width // heads
    patches = (input_px // architecture.patch_px) ** 2
    tokens = patches + 1
    rows = batch * tokens
    return [
        Product("patches", 1, 1, batch * patches, 3 * architecture.patch_px**2, width),
        Product("qkv", layers, 1, rows, width, 3 * width),
        Product("scores", layers, batch * heads, tokens, head_size, tokens),
        Product("mix", layers, batch * heads, tokens, tokens, head_size),
        Product("projection", layers, 1, rows, width, width),
        Product("fc1", layers, 1, rows, width, hidden),
        Product("fc2", layers, 1, rows, hidden, width),
    ]


def flop_per_image(architecture: EncoderArchitecture, input_px: int, *, is_last_whole: bool) -> int:
    """What a network really computes for one crop.

    Args:
        architecture: of CLIP.
        input_px: side of a crop.
        is_last_whole: whether the last block works on all tokens, as open_clip's does. The exported graphs compute
            the class token alone there, and are not credited with the rest: Q, the projection, the perceptron and
            both products of attention for the T - 1 other tokens.
    """
    done = products(architecture, input_px, 1)
    whole = sum(product.repeats * product.flop for product in done)
    if is_last_whole:
        return whole
    by_name = {product.name: product for product in done}
    tokens = by_name["qkv"].rows
    of_all_tokens = by_name["qkv"].flop // 3 + sum(
        by_name[name].flop for name in ("scores", "mix", "projection", "fc1", "fc2")
    )
    return whole - of_all_tokens * (tokens - 1) // tokens
