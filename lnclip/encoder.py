"""The network in torch: an image tower and a two-row head. The reference that engines must equal.

This and ``towers`` are the modules of this package that need torch. Legend: N faces, D embedding size, S input side.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError
from safetensors.torch import load_file
from timm.models.eva import Eva
from torch import Tensor, nn

from lnclip.architecture import Activation, EncoderArchitecture
from lnclip.artifact import Artifact, Identity
from lnclip.errors import ArtifactError
from lnclip.identity import file_sha256
from lnclip.towers import ACTIVATIONS, TOWERS


class Encoding(NamedTuple):
    """What the network says of N faces."""

    logits: Tensor
    """(N, 2), rows of the head in ``Identity.class_order``; no temperature."""

    embedding: Tensor
    """(N, D), unit length."""


class FaceEncoder(nn.Module):
    """Image tower -> feature -> L2 norm -> Linear(D, 2). Which feature: see ``architecture.Family``.

    Source: arXiv 2508.06248; GenD's LinearNorm head (W is not normalised, the bias is kept).
    """

    def __init__(
        self, architecture: EncoderArchitecture, activation: Activation, input_px: int, *, normalise: bool = True
    ) -> None:
        """Random weights. ``normalise`` is off for GenD's plain linear head."""
        super().__init__()
        self.visual = TOWERS[architecture.family](architecture, activation, input_px)
        self.head = nn.Linear(architecture.width, 2)
        self.normalise = normalise

    def forward(self, pixels_NCHW: Tensor) -> Encoding:
        """Encode normalised pixels, (N, 3, S, S)."""
        return self.classify(self.visual(pixels_NCHW))

    def classify(self, features_ND: Tensor) -> Encoding:
        """What the head says of features, (N, D), of any length."""
        embedding = nn.functional.normalize(features_ND, dim=1)
        return Encoding(self.head(embedding if self.normalise else features_ND), embedding)


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
    visual: Any = encoder.visual
    active = (
        [block.mlp.act for block in visual.blocks]
        if isinstance(visual, Eva)
        else [block.mlp.gelu for block in visual.transformer.resblocks]
    )
    for index, found in enumerate(active):
        if type(found) is not ACTIVATIONS[activation]:
            raise ArtifactError(f"block {index} has {type(found).__name__}, the weights need {activation}")


def class_column(identity: Identity, label: str) -> int:
    """Which logit means ``label``."""
    return identity.class_order.index(label)


def count_parameters(module: nn.Module) -> tuple[int, int]:
    """Trainable and all parameters."""
    sizes = [(p.numel(), p.requires_grad) for p in module.parameters()]
    return sum(n for n, trainable in sizes if trainable), sum(n for n, _ in sizes)
