"""What published tensors are: which encoder, which head, and how faces must be cut for them."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

from lnclip.architecture import KNOWN, Activation, EncoderArchitecture, Family
from lnclip.errors import ArtifactError
from lnclip.spec import Points, PreprocessSpec
from training.published.adapters import fold
from training.published.layouts import Encoder, Tensors, convert, listed
from training.published.settings import Settings

Profile = Literal["GenD", "deepfake-detection", "encoder"]
"""Who published it: the second paper's code, the first one's, or an encoder without a head for faces."""

BACKBONES = {
    "openai/clip-vit-base-patch32": "ViT-B-32",
    "openai/clip-vit-base-patch16": "ViT-B-16",
    "openai/clip-vit-large-patch14": "ViT-L-14",
    "openai/clip-vit-large-patch14-336": "ViT-L-14-336",
    "vit_pe_core_base_patch16_224": "PE-Core-B-16",
    "vit_pe_core_large_patch14_336": "PE-Core-L-14",
    "facebook/dinov3-vitb16-pretrain-lvd1689m": "DINOv3-B-16",
    "facebook/dinov3-vitl16-pretrain-lvd1689m": "DINOv3-L-16",
}
"""What configurations call the encoders that we know."""

PUBLISHERS: dict[str, Activation] = {"openai": "quick_gelu", "laion": "gelu"}
"""Whose CLIPs have which."""

ARCFACE_112 = (
    (30.2946, 51.6963),
    (65.5318, 51.5014),
    (48.0252, 71.7366),
    (33.5493, 92.3655),
    (62.7299, 92.2041),
)
DEEPFAKEBENCH_TEMPLATE: Points = tuple(((x + 8.0) / 112, y / 112) for x, y in ARCFACE_112)
"""Of the crops that the first paper trained on. Source: DeepfakeBench preprocessing/preprocess.py."""

WRAPPER, ADAPTED, HEAD = "feature_extractor.", "base_model.model.", "model.linear."
PROJECTION = "visual_projection.weight"


class Parts(NamedTuple):
    """A published file, sorted."""

    profile: Profile
    encoder: Encoder
    head: Tensors
    """weight (2, D), bias (2,), row 0 real; empty for an encoder alone."""

    dropped: dict[str, str]
    """Tensors left out, by their names in the file, and why."""


def sort(tensors: Tensors, settings: Settings) -> Parts:
    """Account for every tensor of a file.

    The first paper's checkpoints lack the unused projection, which the second's keep: that tells
    their encoders of CLIP apart.

    Raises:
        ArtifactError: naming the tensors that cannot be placed.
    """
    if not any(name.startswith(WRAPPER) for name in tensors):
        encoder = convert(tensors)
        return Parts("encoder", encoder, {}, encoder.dropped)
    head = {name.removeprefix(HEAD): tensor for name, tensor in tensors.items() if name.startswith(HEAD)}
    losses = {name: "a loss's own parameter" for name in tensors if name.startswith("criterion.")}
    rest = {name: t for name, t in tensors.items() if not name.startswith(HEAD) and name not in losses}
    if strange := [name for name in rest if not name.startswith(WRAPPER)]:
        raise ArtifactError(f"{listed(strange)}: neither the encoder's nor the head's")
    wrapped = {name.removeprefix(WRAPPER).removeprefix(ADAPTED): tensor for name, tensor in rest.items()}
    if len(wrapped) != len(rest):
        raise ArtifactError("the checkpoint holds its encoder twice, with adapters and without")
    folded, frozen = fold(wrapped, settings.lora)
    encoder = convert({name.removeprefix("backbone."): tensor for name, tensor in folded.items()})
    is_first = encoder.layout.family == "clip" and PROJECTION not in folded and not settings.is_gend
    profile: Profile = "deepfake-detection" if is_first else "GenD"
    return Parts(profile, encoder, head, losses | frozen | encoder.dropped)


def recognise(encoder: Encoder, settings: Settings) -> tuple[EncoderArchitecture, int]:
    """The architecture that the tensors' shapes and the configuration agree on, and the input side in pixels.

    Raises:
        ArtifactError: they contradict each other, or leave the number of heads open.
    """
    family = encoder.layout.family
    if family == "clip":
        architecture, input_px = _clip(encoder.weights, settings)
    else:
        architecture, input_px = _of_timm(family, encoder.weights, settings)
    backbone = (settings.backbone or "").removesuffix(".fb")
    expected = BACKBONES.get(backbone)
    if expected is not None and expected != architecture.name:
        raise ArtifactError(f"the configuration says {backbone}, the tensors are those of {architecture.name}")
    return architecture, input_px


def choose_activation(family: Family, settings: Settings) -> Activation:
    """What the configuration says, or what is known of the encoder's publisher.

    Raises:
        ArtifactError: nobody says which; the tensors fit both.
    """
    if family != "clip":
        if settings.activation not in {None, "gelu"}:
            raise ArtifactError(f"the configuration says {settings.activation}, which no encoder of this kind has")
        return "gelu"
    if settings.activation is not None:
        return settings.activation
    publisher = (settings.backbone or "").partition("/")[0]
    if publisher not in PUBLISHERS:
        raise ArtifactError(
            f"nothing says which activation {settings.backbone or 'this CLIP'} was trained with, and the wrong one "
            "gives plausible wrong scores: give it a config.json beside it with "
            '{"hidden_act": "quick_gelu"} for OpenAI\'s weights or {"hidden_act": "gelu"} for LAION\'s and DataComp\'s'
        )
    return PUBLISHERS[publisher]


def choose_spec(profile: Profile, architecture: EncoderArchitecture, input_px: int) -> PreprocessSpec:
    """How faces were cut for these weights.

    Raises:
        ArtifactError: the input side is none that can be served.
    """
    changes: dict[str, object] = {"input_px": input_px}
    if profile == "deepfake-detection":
        changes |= {"crop_px": 256, "estimator": "least_squares", "template": DEEPFAKEBENCH_TEMPLATE}
    try:
        return PreprocessSpec.model_validate(architecture.spec.model_dump() | changes)
    except ValueError as error:
        raise ArtifactError(f"{architecture.name}: {error}") from error


def _clip(weights: Tensors, settings: Settings) -> tuple[EncoderArchitecture, int]:
    width, patch_px = _patches(weights, "conv1.weight")
    input_px = patch_px * _grid(weights, "positional_embedding")
    hidden = _shape(weights, "transformer.resblocks.0.mlp.c_fc.weight")[0]
    sizes: dict[str, object] = {"width": width, "patch_px": patch_px, "mlp_ratio": hidden / width}
    sizes["layers"] = _layers(weights)
    return _named("clip", sizes, input_px, settings), input_px


def _of_timm(family: Family, weights: Tensors, settings: Settings) -> tuple[EncoderArchitecture, int]:
    """PE resamples its positions, DINOv3 computes them: the input is what both were tuned at."""
    width, patch_px = _patches(weights, "patch_embed.proj.weight")
    input_px = settings.input_px or 224
    if input_px % patch_px:
        raise ArtifactError(f"patches of {patch_px} px do not divide an input of {input_px}")
    hidden = _shape(weights, "blocks.0.mlp.fc1.weight")[0]
    sizes: dict[str, object] = {"width": width, "patch_px": patch_px, "mlp_ratio": hidden / width}
    sizes["layers"] = _layers(weights)
    if family == "pe":
        sizes["position_px"] = patch_px * _grid(weights, "pos_embed")
    return _named(family, sizes, input_px, settings), input_px


def _named(family: Family, sizes: dict[str, object], input_px: int, settings: Settings) -> EncoderArchitecture:
    """The known architecture of these sizes, or one named after them.

    Raises:
        ArtifactError: it is not known, and nobody says how many heads it has: no shape does.
    """
    heads = {} if settings.num_heads is None else {"heads": settings.num_heads}
    for known in KNOWN.values():
        fits = known.family == family and (family != "clip" or known.spec.input_px == input_px)
        if fits and all(getattr(known, name) == size for name, size in (sizes | heads).items()):
            return known
    name = f"{family.upper()}-{sizes['layers']}x{sizes['width']}-p{sizes['patch_px']}"
    if not heads:
        raise ArtifactError(
            f"{name} is none of the encoders known here, and nothing says how many attention heads it has: "
            'give it a config.json beside it with {"num_attention_heads": H}'
        )
    try:
        return EncoderArchitecture.model_validate({"name": name, "family": family} | sizes | heads)
    except ValueError as error:
        raise ArtifactError(f"{name}: {error}") from error


def _shape(weights: Tensors, name: str) -> tuple[int, ...]:
    if name not in weights:
        raise ArtifactError(f"{name} is missing")
    return tuple(weights[name].shape)


def _patches(weights: Tensors, name: str) -> tuple[int, int]:
    """Width and patch side."""
    shape = _shape(weights, name)
    if len(shape) != 4 or shape[1] != 3 or shape[2] != shape[3]:
        raise ArtifactError(f"{name} is {shape}, must be (D, 3, patch, patch)")
    return shape[0], shape[2]


def _grid(weights: Tensors, name: str) -> int:
    """Patches along a side: positions are those of a square of them and of the class token."""
    num_positions = _shape(weights, name)[-2]
    grid = math.isqrt(num_positions - 1)
    if grid**2 + 1 != num_positions:
        raise ArtifactError(f"{name} has {num_positions} positions: not those of a square and a class token")
    return grid


def _layers(weights: Tensors) -> int:
    """One more than the highest number of a block; missing ones are found when the weights are loaded."""
    blocks = {name.partition("blocks.")[2].partition(".")[0] for name in weights}
    return 1 + max((int(number) for number in blocks if number.isdecimal()), default=0)
