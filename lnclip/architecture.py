"""The shapes of the vision transformers we know, without torch."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Activation = Literal["quick_gelu", "gelu"]
"""OpenAI's CLIP weights need QuickGELU, x * sigmoid(1.702 x); LAION's and DataComp's need GELU. The
wrong one gives plausible wrong scores, so it is stored with the weights and asserted at load."""


class EncoderArchitecture(BaseModel):
    """A CLIP image tower: pre-norm blocks, class token, learned positions, no projection."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    width: int = Field(gt=0)
    """D: also the size of the embedding."""

    layers: int = Field(gt=0)
    heads: int = Field(gt=0)
    patch_px: int = Field(gt=0)
    mlp_ratio: float = Field(default=4.0, gt=0)

    @model_validator(mode="after")
    def _heads_divide_width(self) -> EncoderArchitecture:
        if self.width % self.heads:
            raise ValueError(f"{self.name}: {self.heads} heads do not divide width {self.width}")
        return self


def _clip(name: str, width: int, layers: int, heads: int, patch_px: int) -> EncoderArchitecture:
    return EncoderArchitecture(name=name, width=width, layers=layers, heads=heads, patch_px=patch_px)


KNOWN = {
    known.name: known
    for known in (
        _clip("ViT-B-32", 768, 12, 12, 32),
        _clip("ViT-B-16", 768, 12, 12, 16),
        _clip("ViT-L-14", 1024, 24, 16, 14),
        _clip("ViT-L-14-336", 1024, 24, 16, 14),
        _clip("demo-4x192-p32", 192, 4, 3, 32),
    )
}
"""By name. The last is the demo's: small enough to be trained from scratch on two cores."""
