"""What the configuration beside published weights says of them, whoever wrote it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict

from lnclip.architecture import Activation
from lnclip.errors import ArtifactError
from training.published.adapters import LoraScale

HEADS: dict[str, Literal["linear", "normalised"]] = {"linear": "linear", "LinearNorm": "normalised"}
"""GenD's names."""

ACTIVATIONS: dict[str, Activation] = {"quick_gelu": "quick_gelu", "gelu": "gelu"}

DEFAULT_BACKBONE = "openai/clip-vit-large-patch14"
"""Of a GenD configuration that names none. Source: GenD modeling_gend.py."""

OPEN_CLIP_SHAPE = {"image_size", "layers", "width", "head_width", "patch_size", "mlp_ratio"}
"""What open_clip's vision_cfg may say: all else changes the network's parts or what is read off it."""

FIXED = {"layer_norm_eps": 1e-5, "rope_theta": 100.0}
"""Numbers of Hugging Face's configurations that our networks have built in."""


class Settings(BaseModel):
    """None is what nobody said."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    is_gend: bool = False
    """Written by GenD's Hugging Face class."""

    backbone: str | None = None
    """What the encoder was before its tuning: a name at Hugging Face or of timm."""

    head: Literal["linear", "normalised"] | None = None
    activation: Activation | None = None
    num_heads: int | None = None
    input_px: int | None = None
    lora: LoraScale | None = None

    @classmethod
    def parse(cls, raw: Mapping[str, object], repository: str | None) -> Settings:
        """Read a config.json, open_clip_config.json, or a checkpoint's ``hyper_parameters``.

        Args:
            raw: the JSON object.
            repository: owner/name at Hugging Face, which may be the backbone's own.

        Raises:
            ArtifactError: it asks for something that cannot be done here.
        """
        vision = _table(raw, "vision_config") or raw
        for name, number in FIXED.items():
            if vision.get(name, number) != number:
                raise ArtifactError(f"the configuration says {name} {vision[name]}; only {number} can be imported")
        if raw.get("custom_preprocessing") is not None:
            raise ArtifactError("the checkpoint was trained with custom_preprocessing, which cannot be imported")
        backbone_args = _table(raw, "backbone_args")
        if backbone_args.get("merge_cls_token_with_patches") is not None:
            raise ArtifactError("the checkpoint's feature merges class and patch tokens, which cannot be imported")
        is_gend = raw.get("model_type") == "GenD"
        backbone = raw.get("backbone", raw.get("architecture", DEFAULT_BACKBONE if is_gend else repository))
        head = raw.get("head", "linear" if is_gend else None)  # GenD's class default
        if head is not None and str(head) not in HEADS:
            raise ArtifactError(f"the configuration's head {head!r} is not known; there are {', '.join(HEADS)}")
        return cls(
            is_gend=is_gend,
            backbone=None if backbone is None else str(backbone),
            head=HEADS.get(str(head)),
            activation=_activation(raw, vision),
            num_heads=_num_heads(raw, vision),
            input_px=_integer(backbone_args, "img_size"),
            lora=_lora(_table(_table(raw, "peft_v2"), "lora")),
        )


def _table(raw: Mapping[str, object], name: str) -> Mapping[str, object]:
    """An inner object; an empty one where there is none."""
    inner = raw.get(name)
    return inner if isinstance(inner, Mapping) else {}


def _integer(raw: Mapping[str, object], name: str) -> int | None:
    value = raw.get(name)
    if value is not None and not isinstance(value, int):
        raise ArtifactError(f"the configuration's {name} {value!r} is not a whole number")
    return value


def _num_heads(raw: Mapping[str, object], vision: Mapping[str, object]) -> int | None:
    """Stated, or by open_clip through the width of one, 64 by default.

    Raises:
        ArtifactError: open_clip's tower differs from a plain one in some other way.
    """
    tower = _table(_table(raw, "model_cfg"), "vision_cfg")
    if strange := [name for name, value in tower.items() if name not in OPEN_CLIP_SHAPE and value]:
        raise ArtifactError(f"the configuration's vision_cfg has {', '.join(strange)}: such a tower cannot be imported")
    width, head_width = _integer(tower, "width"), _integer(tower, "head_width") or 64
    return width // head_width if width else _integer(vision, "num_attention_heads")


def _activation(raw: Mapping[str, object], vision: Mapping[str, object]) -> Activation | None:
    """Hugging Face's CLIP classes default to quick_gelu, open_clip to gelu; others say it or do not.

    Raises:
        ArtifactError: it is another.
    """
    if open_clip := _table(raw, "model_cfg"):
        return "quick_gelu" if open_clip.get("quick_gelu") else "gelu"
    default = "quick_gelu" if raw.get("model_type") in {"clip", "clip_vision_model"} else None
    stated = vision.get("hidden_act", default)
    if stated is None or str(stated) in ACTIVATIONS:
        return ACTIVATIONS.get(str(stated))
    raise ArtifactError(f"the configuration says hidden_act {stated!r}; only quick_gelu and gelu can be imported")


def _lora(raw: Mapping[str, object]) -> LoraScale | None:
    """GenD's names: rank, alpha, use_rslora.

    Raises:
        ArtifactError: they are no numbers.
    """
    if not raw:
        return None
    rank, alpha = raw.get("rank"), raw.get("alpha")
    if not isinstance(rank, int) or not isinstance(alpha, int | float) or rank < 1:
        raise ArtifactError(f"the configuration's peft_v2.lora must have rank and alpha, it has {dict(raw)}")
    return LoraScale(rank, alpha, bool(raw.get("use_rslora")))
