"""The papers' network as a user of open_clip has it: its own blocks, none of our replacements, a run's weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from open_clip.transformer import QuickGELU, VisionTransformer
from torch import nn

from lnclip.artifact import Artifact, Identity
from lnclip.encoder import FaceEncoder, load_run
from lnclip.errors import ConfigError


def load_open_clip(run: Path) -> tuple[Artifact, FaceEncoder]:
    """A run's weights in open_clip's own tower, under our head.

    Raises:
        ArtifactError: the run cannot be loaded.
        ConfigError: it has no CLIP tower.
    """
    artifact, encoder = load_run(run)
    tower = _tower(artifact.identity)
    tower.load_state_dict(encoder.visual.state_dict())
    encoder.visual = tower
    return artifact, encoder.eval()


def _tower(identity: Identity) -> nn.Module:
    """Class token after ``ln_post``, before the projection; every block works on all tokens."""
    architecture = identity.encoder
    if architecture.family != "clip":
        raise ConfigError(f"{architecture.name} is not one of open_clip's image towers")
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
