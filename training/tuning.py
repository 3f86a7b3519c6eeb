"""Which parameters learn."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from lnclip.encoder import FaceEncoder
from training.config import Tune


def select_trainable(encoder: FaceEncoder, tune: Tune) -> None:
    """Leave gradients on for what ``tune`` names and the head; the rest is frozen and gets none.

    Norms are found by type, not by name: a misspelt name once left CLIP's first norm frozen in
    the reference code without anybody noticing.
    """
    encoder.visual.requires_grad_(tune == "full")
    for parameter in _norm_parameters(encoder.visual):
        parameter.requires_grad_()
    encoder.head.requires_grad_()


def _norm_parameters(module: nn.Module) -> Iterator[nn.Parameter]:
    for part in module.modules():
        if isinstance(part, nn.LayerNorm):
            yield from part.parameters()


def parameter_groups(encoder: FaceEncoder, weight_decay: float) -> list[dict[str, object]]:
    """The trainable parameters for an optimiser: matrices decay; vectors (norms, biases) never do."""
    trainable = [parameter for parameter in encoder.parameters() if parameter.requires_grad]
    return [
        {"params": [parameter for parameter in trainable if parameter.ndim >= 2], "weight_decay": weight_decay},
        {"params": [parameter for parameter in trainable if parameter.ndim < 2], "weight_decay": 0.0},
    ]
