"""The papers' image tower as a user of open_clip has it: its own blocks, none of our replacements."""

from __future__ import annotations

from typing import Any, cast

from open_clip.transformer import QuickGELU, VisionTransformer
from torch import nn

from lnclip.artifact import Identity
from lnclip.errors import ConfigError


def open_clip_tower(identity: Identity) -> nn.Module:
    """Random weights; the class token after ``ln_post``, before the projection; every block works on all tokens.

    Raises:
        ConfigError: the encoder is no CLIP.
    """
    architecture = identity.encoder
    if architecture.family != "clip":
        raise ConfigError(f"{architecture.name} is not one of open_clip's image towers: --encoder ViT-L-14")
    tower: Any = VisionTransformer(
        image_size=identity.spec.input_px,
        patch_size=architecture.patch_px,
        width=architecture.width,
        layers=architecture.layers,
        heads=architecture.heads,
        mlp_ratio=architecture.mlp_ratio,
        act_layer=QuickGELU if identity.activation == "quick_gelu" else nn.GELU,
        output_dim=architecture.width,
    )
    tower.proj = None
    return cast("nn.Module", tower)
