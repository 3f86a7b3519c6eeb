"""How a frame becomes a network input: one frozen value, saved inside every artifact.

Training, export, Triton and the client all read the same spec; nobody else hard-codes a mean,
a crop scale or a template. Two stages may work together only if their spec ids are equal.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from lnclip.identity import ContentId, content_id

Points = tuple[tuple[float, float], ...]
Channels = tuple[float, float, float]

FIVE_POINTS: Points = ((0.34, 0.46), (0.66, 0.46), (0.50, 0.64), (0.37, 0.82), (0.63, 0.82))
"""Source: GenD detector.py (ArcFace's template in unit coordinates, rounded and made symmetric)."""

CLIP_MEAN: Channels = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD: Channels = (0.26862954, 0.26130258, 0.27577711)
"""RGB statistics of CLIP's training images, after /255. Source: openai/CLIP clip.py."""

IMAGENET_MEAN: Channels = (0.485, 0.456, 0.406)
IMAGENET_STD: Channels = (0.229, 0.224, 0.225)
"""RGB statistics of ImageNet, after /255: DINOv3's. Source: timm data/constants.py."""


class PreprocessSpec(BaseModel):
    """Every number that changes a pixel before it reaches the network."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    algorithm: Literal[1] = 1
    """Grows when code, rather than a number below, changes pixels (another warp, say)."""

    template: Points = Field(FIVE_POINTS, min_length=5, max_length=5)
    """Where left eye, right eye, nose, left and right mouth corner (as seen in the picture)
    land, as fractions of a tight crop, x right and y down."""

    crop_scale: float = Field(1.3, ge=1.0, le=4.0)
    """Context around the face: 1.0 is the tight template, larger shows more background."""

    crop_px: int | None = Field(None, ge=16, le=4096)
    """Side of the aligned crop before the resize to ``input_px``; None keeps the face's own size."""

    estimator: Literal["lmeds", "least_squares"] = "lmeds"
    """How the similarity transform is fitted to the five landmarks."""

    input_px: int = Field(224, ge=16, le=1024)
    """Side of the square network input."""

    resize: Literal["pil_bicubic", "antialiased_bilinear"] = "pil_bicubic"
    """Filter from the crop to the network input."""

    mean: Channels = CLIP_MEAN
    """Subtracted after /255, RGB."""

    std: Channels = CLIP_STD
    """Divided by after that, RGB."""

    @property
    def spec_id(self) -> ContentId:
        """What is compared before crops of one stage go into the weights of another."""
        return content_id(self)
