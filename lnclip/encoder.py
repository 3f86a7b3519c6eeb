"""The network in torch: a CLIP image tower and a two-row head. The reference that engines must equal.

The one module of this package that needs torch. Legend: N faces, D embedding size, S input side.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from open_clip.transformer import QuickGELU, VisionTransformer
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from lnclip.architecture import Activation, EncoderArchitecture
from lnclip.artifact import Artifact, Identity
from lnclip.errors import ArtifactError
from lnclip.identity import file_sha256

ACTIVATIONS: dict[Activation, type[nn.Module]] = {"quick_gelu": QuickGELU, "gelu": nn.GELU}


class Encoding(NamedTuple):
    """What the network says of N faces."""

    logits: Tensor
    """(N, 2), rows of the head in ``Identity.class_order``; no temperature."""

    embedding: Tensor
    """(N, D), unit length."""


class FaceEncoder(nn.Module):
    """Class token after ``ln_post`` and before the projection -> L2 norm -> Linear(D, 2).

    Source: arXiv 2508.06248; GenD's LinearNorm head (W is not normalised, the bias is kept).
    """

    def __init__(
        self, architecture: EncoderArchitecture, activation: Activation, input_px: int, *, normalise: bool = True
    ) -> None:
        """Random weights. ``normalise`` is off for GenD's plain linear head."""
        super().__init__()
        self.visual = VisionTransformer(
            image_size=input_px,
            patch_size=architecture.patch_px,
            width=architecture.width,
            layers=architecture.layers,
            heads=architecture.heads,
            mlp_ratio=architecture.mlp_ratio,
            act_layer=ACTIVATIONS[activation],
            output_dim=architecture.width,
        )
        self.visual.proj = None
        self.head = nn.Linear(architecture.width, 2)
        self.normalise = normalise

    def forward(self, pixels_NCHW: Tensor) -> Encoding:
        """Encode normalised pixels, (N, 3, S, S)."""
        features = self.visual(pixels_NCHW)
        embedding = nn.functional.normalize(features, dim=1)
        return Encoding(self.head(embedding if self.normalise else features), embedding)


def build_encoder(identity: Identity) -> FaceEncoder:
    """A network of that identity's shape, with random weights."""
    return FaceEncoder(
        identity.encoder, identity.activation, identity.spec.input_px, normalise=identity.head == "normalised"
    )


def load_run(run: Path) -> tuple[Artifact, FaceEncoder]:
    """Read runs/NAME: model.json and weights.safetensors.

    Raises:
        ArtifactError: a file is missing or damaged, the weights are not those that model.json
            names, or a tensor is missing, unexpected or of another shape.
    """
    artifact, path = Artifact.load(run / "model.json"), run / "weights.safetensors"
    try:
        if file_sha256(path) != artifact.identity.weights_sha256:
            raise ArtifactError(
                f"{path} is not the file that {run / 'model.json'} was written for: its SHA-256 differs"
            )
        weights = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ArtifactError(f"{path} cannot be read: {error}") from error
    encoder = build_encoder(artifact.identity)
    load_strictly(encoder, weights, path)
    assert_activation(encoder, artifact.identity.activation)
    return artifact, encoder.eval()


def load_strictly(encoder: nn.Module, weights: dict[str, Tensor], source: Path) -> None:
    """Copy weights in; every tensor must be there, expected, and of the right shape.

    Raises:
        ArtifactError: naming the tensors and ``source``.
    """
    expected = encoder.state_dict()
    complaints = [f"{name} is missing" for name in expected.keys() - weights.keys()]
    complaints += [f"{name} is unexpected" for name in weights.keys() - expected.keys()]
    complaints += [
        f"{name} is {tuple(weights[name].shape)}, must be {tuple(expected[name].shape)}"
        for name in expected.keys() & weights.keys()
        if weights[name].shape != expected[name].shape
    ]
    if complaints:
        shown = "; ".join(sorted(complaints)[:5])
        raise ArtifactError(f"{source} does not fit: {shown} ({len(complaints)} in all)")
    encoder.load_state_dict(weights)


def assert_activation(encoder: FaceEncoder, activation: Activation) -> None:
    """Every block must have the activation that the weights were trained with.

    Raises:
        ArtifactError: a block has another one.
    """
    for index, block in enumerate(encoder.visual.transformer.resblocks):
        if type(block.mlp.gelu) is not ACTIVATIONS[activation]:
            raise ArtifactError(f"block {index} has {type(block.mlp.gelu).__name__}, the weights need {activation}")


def class_column(identity: Identity, label: str) -> int:
    """Which logit means ``label``."""
    return identity.class_order.index(label)


def count_parameters(module: nn.Module) -> tuple[int, int]:
    """Trainable and all parameters."""
    sizes = [(p.numel(), p.requires_grad) for p in module.parameters()]
    return sum(n for n, trainable in sizes if trainable), sum(n for n, _ in sizes)
