"""Perception Encoder against its definition written out in plain tensor arithmetic; no timm on that side.

Source: arXiv 2504.13181, sections 2 and B; the paper's own code rotates pairs of neighbouring channels.
"""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from lnclip.architecture import EncoderArchitecture
from lnclip.encoder import FaceEncoder

SMALL = EncoderArchitecture(name="small", family="pe", width=64, layers=2, heads=4, patch_px=16, position_px=64)


def norm(x: Tensor, weights: dict[str, Tensor], name: str) -> Tensor:
    centred = x - x.mean(dim=-1, keepdim=True)
    scaled = centred / (centred.square().mean(dim=-1, keepdim=True) + 1e-5).sqrt()
    return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def linear(x: Tensor, weights: dict[str, Tensor], name: str) -> Tensor:
    return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


def mlp(x: Tensor, weights: dict[str, Tensor], name: str) -> Tensor:
    hidden = linear(x, weights, f"{name}.fc1")
    return linear(0.5 * hidden * (1 + torch.erf(hidden / 2**0.5)), weights, f"{name}.fc2")


def heads_of(x: Tensor, num_heads: int) -> Tensor:
    """(N, T, D) -> (N, heads, T, D / heads)."""
    return x.unflatten(-1, (num_heads, -1)).transpose(1, 2)


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """(N, heads, T, d) -> (N, T, D)."""
    share = (q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5).softmax(dim=-1)
    return (share @ v).transpose(1, 2).flatten(2)


def angles(grid: int, reference: int, head_width: int) -> Tensor:
    """(grid^2, head_width / 2): a quarter of the head turns with x and a quarter with y.

    Positions begin at 1, the class token being at 0, and another grid is stretched to the one of training.
    """
    position = (torch.arange(grid) + 1) / grid * reference
    frequency = 10000.0 ** (-torch.arange(head_width // 4) / (head_width // 4))
    turn = position[:, None] * frequency
    y, x = torch.meshgrid(torch.arange(grid), torch.arange(grid), indexing="ij")
    return torch.cat([turn[x.flatten()], turn[y.flatten()]], dim=1)


def rotate(x: Tensor, turn: Tensor) -> Tensor:
    """Channels 2 i and 2 i + 1 as the parts of a complex number; the class token stays."""
    spun = torch.view_as_complex(x[:, :, 1:].unflatten(-1, (-1, 2)).contiguous()) * torch.polar(turn * 0 + 1, turn)
    return torch.cat([x[:, :, :1], torch.view_as_real(spun).flatten(-2)], dim=2)


def features(weights: dict[str, Tensor], pixels: Tensor, architecture: EncoderArchitecture) -> Tensor:
    patch, num_heads = architecture.patch_px, architecture.heads
    grid, reference = pixels.shape[-1] // patch, architecture.position_px // patch
    tokens = (
        functional.unfold(pixels, patch, stride=patch).transpose(1, 2) @ weights["patch_embed.proj.weight"].flatten(1).T
    )
    positions = weights["pos_embed"][:, 1:].unflatten(1, (reference, reference)).permute(0, 3, 1, 2)
    if grid != reference:
        positions = functional.interpolate(positions, (grid, grid), mode="bicubic", antialias=True)
    tokens = tokens + positions.flatten(2).transpose(1, 2)
    token = (weights["cls_token"] + weights["pos_embed"][:, :1]).expand(len(pixels), -1, -1)
    x = norm(torch.cat([token, tokens], dim=1), weights, "norm_pre")
    turn = angles(grid, reference, architecture.width // num_heads)
    for block in (f"blocks.{index}" for index in range(architecture.layers)):
        q, k, v = (
            heads_of(part, num_heads)
            for part in linear(norm(x, weights, f"{block}.norm1"), weights, f"{block}.attn.qkv").chunk(3, dim=-1)
        )
        x = x + linear(attend(rotate(q, turn), rotate(k, turn), v), weights, f"{block}.attn.proj")
        x = x + mlp(norm(x, weights, f"{block}.norm2"), weights, f"{block}.mlp")
    x = norm(x, weights, "norm")
    query = heads_of(linear(weights["attn_pool.latent"].expand(len(x), -1, -1), weights, "attn_pool.q"), 8)
    key, value = (heads_of(part, 8) for part in linear(x, weights, "attn_pool.kv").chunk(2, dim=-1))
    pooled = linear(attend(query, key, value), weights, "attn_pool.proj")[:, 0]
    return pooled + mlp(norm(pooled, weights, "attn_pool.norm"), weights, "attn_pool.mlp")


@pytest.mark.parametrize("input_px", [64, 96], ids=["its own grid", "a resampled grid"])
def test_the_feature_is_that_of_the_written_definition(input_px):
    torch.manual_seed(0)
    encoder = FaceEncoder(SMALL, "gelu", input_px).eval()
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        pixels = torch.randn(3, 3, input_px, input_px)
        expected = features(encoder.visual.state_dict(), pixels, SMALL)
        torch.testing.assert_close(encoder.visual(pixels), expected, atol=2e-5, rtol=1e-5)
