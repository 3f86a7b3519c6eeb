"""How published encoders name their tensors, and what each is called in ours.

Every tensor of a file is renamed, or dropped by a rule that says why, or an error: nothing is
passed over. Which layout a file has is read off its names. Legend: D width.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from lnclip.architecture import Family
from lnclip.errors import ArtifactError

Tensors = dict[str, Tensor]

SHOWN = 5
"""So many names in a message."""

PROJECTION = "projection to CLIP's joint space: scores are read off before it"
TEXT = "text tower"
MASK = "stands for masked patches in pre-training"


@dataclass(frozen=True, kw_only=True)
class Layout:
    """One way to name the tensors of one family of encoders. Patterns match whole names."""

    name: str
    family: Family
    sign: str
    """Only this layout has a tensor of this name."""

    renames: tuple[tuple[str, str], ...]
    """Patterns and our names; the first that matches counts."""

    drops: Mapping[str, str] = field(default_factory=dict)
    """Patterns of tensors that no score depends on, and why."""


class Encoder(NamedTuple):
    """An encoder's tensors under our names."""

    layout: Layout
    weights: Tensors
    dropped: dict[str, str]
    """Tensors left out, by their names in the file, and why."""


_V = r"(?:vision_model\.)?"
_CLIP_LAYER = _V + r"encoder\.layers\.(\d+)\."
_DINO_LAYER = r"(?:model\.)?layer\.(\d+)\."
_AFFINE = r"(weight|bias)"
_BLOCK = r"transformer.resblocks.\1."

LAYOUTS = (
    Layout(
        name="Hugging Face CLIP",
        family="clip",
        sign=_V + r"embeddings\.patch_embedding\.weight",
        renames=(
            (_V + r"embeddings\.class_embedding", "class_embedding"),
            (_V + r"embeddings\.patch_embedding\.weight", "conv1.weight"),
            (_V + r"embeddings\.position_embedding\.weight", "positional_embedding"),
            (_V + r"pre_layrnorm\." + _AFFINE, r"ln_pre.\1"),  # their spelling
            (_V + r"post_layernorm\." + _AFFINE, r"ln_post.\1"),
            (_CLIP_LAYER + r"layer_norm([12])\." + _AFFINE, _BLOCK + r"ln_\2.\3"),
            (_CLIP_LAYER + r"self_attn\.([qkv]_proj|out_proj)\." + _AFFINE, _BLOCK + r"attn.\2.\3"),
            (_CLIP_LAYER + r"mlp\.fc1\." + _AFFINE, _BLOCK + r"mlp.c_fc.\2"),
            (_CLIP_LAYER + r"mlp\.fc2\." + _AFFINE, _BLOCK + r"mlp.c_proj.\2"),
        ),
        drops={
            _V + r"embeddings\.position_ids": "0, 1, 2, ...: computed, not learned",
            r"visual_projection\.weight": PROJECTION,
            r"text_model\..*|text_projection\.weight": TEXT,
            r"logit_scale": "temperature of CLIP's own loss",
        },
    ),
    Layout(
        name="open_clip",
        family="clip",
        sign=r"visual\.conv1\.weight",
        renames=(
            (r"visual\.(class_embedding|conv1\.weight|positional_embedding|(?:ln_pre|ln_post|transformer)\..*)", r"\1"),
        ),
        drops={
            r"visual\.proj": PROJECTION,
            r"(?:text|transformer|ln_final|token_embedding)\..*|positional_embedding|text_projection|attn_mask": TEXT,
            r"logit_scale|logit_bias": "temperature of CLIP's own loss",
        },
    ),
    Layout(
        name="timm Perception Encoder",
        family="pe",
        sign=r"attn_pool\.latent",
        renames=((r"(cls_token|pos_embed|(?:patch_embed|norm_pre|blocks|norm|attn_pool)\..*)", r"\1"),),
        drops={r"head\.(?:weight|bias)": PROJECTION},
    ),
    Layout(
        name="Hugging Face DINOv3",
        family="dinov3",
        sign=r"embeddings\.register_tokens",
        renames=(
            (r"embeddings\.cls_token", "cls_token"),
            (r"embeddings\.register_tokens", "reg_token"),
            (r"embeddings\.patch_embeddings\." + _AFFINE, r"patch_embed.proj.\1"),
            (_DINO_LAYER + r"norm([12])\." + _AFFINE, r"blocks.\1.norm\2.\3"),
            (_DINO_LAYER + r"attention\.([qkv]_proj)\." + _AFFINE, r"blocks.\1.attn.\2.\3"),
            (_DINO_LAYER + r"attention\.o_proj\." + _AFFINE, r"blocks.\1.attn.proj.\2"),
            (_DINO_LAYER + r"layer_scale([12])\.lambda1", r"blocks.\1.gamma_\2"),
            (_DINO_LAYER + r"mlp\.up_proj\." + _AFFINE, r"blocks.\1.mlp.fc1.\2"),
            (_DINO_LAYER + r"mlp\.down_proj\." + _AFFINE, r"blocks.\1.mlp.fc2.\2"),
            (r"norm\." + _AFFINE, r"norm.\1"),
        ),
        drops={r"embeddings\.mask_token": MASK},
    ),
    Layout(
        name="timm DINOv3",
        family="dinov3",
        sign=r"reg_token",
        renames=(
            (r"blocks\.(\d+)\.attn\.([qv])_bias", r"blocks.\1.attn.\2_proj.bias"),
            (r"(cls_token|reg_token|(?:patch_embed|blocks|norm)\..*)", r"\1"),
        ),
    ),
)


def convert(tensors: Tensors) -> Encoder:
    """Rename an encoder's tensors to those of ``FaceEncoder.visual``.

    Raises:
        ArtifactError: no layout has such names, or a tensor is neither renamed nor dropped by the
            file's layout, or two of them would become one; the tensors are named.
    """
    layout = _recognise(tensors)
    weights: Tensors = {}
    origin: dict[str, str] = {}
    dropped: dict[str, str] = {}
    unknown: list[str] = []
    for name, tensor in tensors.items():
        target = next((m.expand(to) for pattern, to in layout.renames if (m := re.fullmatch(pattern, name))), None)
        reason = next((why for pattern, why in layout.drops.items() if re.fullmatch(pattern, name)), None)
        if reason is not None:
            dropped[name] = reason
        elif target is None:
            unknown.append(name)
        elif target in origin:
            raise ArtifactError(f"{origin[target]} and {name} are one tensor in the layout of {layout.name}")
        else:
            weights[target], origin[target] = tensor, name
    if unknown:
        raise ArtifactError(f"this looks like {layout.name}, but it has no tensor called {listed(unknown)}")
    if layout.family == "clip":
        _join_attention(weights)
    if layout.family == "dinov3":
        _split_attention(weights)
    return Encoder(layout, weights, dropped)


def listed(names: list[str]) -> str:
    """The first few names."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(sorted(names)[:SHOWN]) + more


def _recognise(tensors: Tensors) -> Layout:
    found = [layout for layout in LAYOUTS if any(re.fullmatch(layout.sign, name) for name in tensors)]
    if len(found) == 1:
        return found[0]
    if found:
        raise ArtifactError(f"the tensors are of several encoders: {' and '.join(layout.name for layout in found)}")
    known = ", ".join(layout.name for layout in LAYOUTS)
    raise ArtifactError(f"the tensors ({listed([*tensors])}) are of none of the known layouts: {known}")


def _join_attention(weights: Tensors) -> None:
    """Q, K and V one below the other, (3 D, D) and (3 D,), where they are apart; in place."""
    for name in [name for name in weights if ".attn.q_proj." in name]:
        parts = [name.replace("q_proj", f"{letter}_proj") for letter in "qkv"]
        if all(part in weights for part in parts):  # what is left over is an unexpected tensor later
            joined = torch.cat([weights.pop(part) for part in parts])
            weights[name.replace("q_proj.", "in_proj_")] = joined


def _split_attention(weights: Tensors) -> None:
    """Q, K and V apart where timm has them in one; in place.

    timm leaves out the biases of DINOv3 when all are zero (its models without "qkvb").
    """
    for name in [name for name in weights if name.endswith(".attn.qkv.weight")]:
        block = name.removesuffix("qkv.weight")
        for letter, part in zip("qkv", weights.pop(name).chunk(3), strict=True):
            weights[f"{block}{letter}_proj.weight"] = part
            if letter != "k":
                weights.setdefault(f"{block}{letter}_proj.bias", part.new_zeros(len(part)))
