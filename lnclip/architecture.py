"""The shapes of the vision transformers we know, without torch."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from lnclip.spec import CLIP_MEAN, CLIP_STD, IMAGENET_MEAN, IMAGENET_STD, PreprocessSpec

Activation = Literal["quick_gelu", "gelu"]
"""OpenAI's CLIP weights need QuickGELU, x * sigmoid(1.702 x); LAION's and DataComp's need GELU. The
wrong one gives plausible wrong scores, so it is stored with the weights and asserted at load."""

Family = Literal["clip", "pe", "dinov3"]
"""CLIP: class token after the last norm, before the projection. PE (Perception Encoder): the
attention-pooling block's output. DINOv3: class token after the last norm. All others of a network's
parts follow from it: positions, registers, layer scale, norms."""


class EncoderArchitecture(BaseModel):
    """The shape of an image tower whose feature is one vector of ``width`` numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    family: Family = "clip"
    width: int = Field(gt=0)
    """D: also the size of the embedding."""

    layers: int = Field(gt=0)
    heads: int = Field(gt=0)
    patch_px: int = Field(gt=0)
    mlp_ratio: float = Field(default=4.0, gt=0)
    position_px: int | None = Field(default=None, gt=0)
    """Input side that the stored position embeddings are for (PE): others are resampled from it."""

    @model_validator(mode="after")
    def _fits(self) -> EncoderArchitecture:
        if self.width % self.heads:
            raise ValueError(f"{self.name}: {self.heads} heads do not divide width {self.width}")
        if (self.position_px is not None) != (self.family == "pe"):
            raise ValueError(f"{self.name}: position_px belongs to the family pe, and only to it")
        return self

    @property
    def activation(self) -> Activation:
        """What the family's published weights were trained with; for CLIP, OpenAI's."""
        return "quick_gelu" if self.family == "clip" else "gelu"

    @property
    def spec(self) -> PreprocessSpec:
        """The preprocessing of the family's published weights.

        Source: arXiv 2508.06248's code: CLIP's processor; timm's eval transform of PE, forced to 224;
        DINOv3's processor.
        """
        if self.family == "pe":
            return PreprocessSpec(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
        if self.family == "dinov3":
            return PreprocessSpec(resize="antialiased_bilinear", mean=IMAGENET_MEAN, std=IMAGENET_STD)
        return PreprocessSpec(input_px=336 if self.name.endswith("-336") else 224, mean=CLIP_MEAN, std=CLIP_STD)


def _known(
    name: str, family: Family, size: tuple[int, int, int], patch_px: int, position_px: int | None = None
) -> EncoderArchitecture:
    width, layers, heads = size
    return EncoderArchitecture(
        name=name, family=family, width=width, layers=layers, heads=heads, patch_px=patch_px, position_px=position_px
    )


BASE, LARGE = (768, 12, 12), (1024, 24, 16)
"""Width, layers and heads of the two usual sizes."""

KNOWN = {
    known.name: known
    for known in (
        _known("ViT-B-32", "clip", BASE, 32),
        _known("ViT-B-16", "clip", BASE, 16),
        _known("ViT-L-14", "clip", LARGE, 14),
        _known("ViT-L-14-336", "clip", LARGE, 14),
        _known("PE-Core-B-16", "pe", BASE, 16, 224),
        _known("PE-Core-L-14", "pe", LARGE, 14, 336),
        _known("DINOv3-B-16", "dinov3", BASE, 16),
        _known("DINOv3-L-16", "dinov3", LARGE, 16),
        _known("demo-4x192-p32", "clip", (192, 4, 3), 32),
    )
}
"""By name. The last is the demo's: small enough to be trained from scratch on two cores."""
