"""peft's adapters in published checkpoints, folded back into the layers that they wrap."""

from __future__ import annotations

import math
from typing import NamedTuple

from lnclip.errors import ArtifactError
from training.published.layouts import Tensors, listed

WRAPPED = ".base_layer."
LN_TUNED = ".ln_tuning_layers.default."
"""peft's LN tuning keeps two copies of each LayerNorm: what was tuned, and the original."""

LORA_A, LORA_B = ".lora_A.default.weight", ".lora_B.default.weight"


class LoraScale(NamedTuple):
    """What the tensors of a LoRA checkpoint do not say."""

    rank: int
    alpha: float
    rank_stabilised: bool

    @property
    def factor(self) -> float:
        """Updates are multiplied by it. Source: peft tuners/lora/layer.py."""
        return self.alpha / (math.sqrt(self.rank) if self.rank_stabilised else self.rank)


def fold(tensors: Tensors, lora: LoraScale | None) -> tuple[Tensors, dict[str, str]]:
    """Tensors as if they had never been wrapped, and those left out with the reason.

    Tuned LayerNorms stand in for the originals; LoRA gives W + factor * B A.

    Raises:
        ArtifactError: an adapter is of another kind or has no layer below it, or LoRA's scale is not known.
    """
    tuned = {name.replace(LN_TUNED, "."): tensor for name, tensor in tensors.items() if LN_TUNED in name}
    folded, dropped = dict(tuned), {}
    for name, tensor in tensors.items():
        plain = name.replace(WRAPPED, ".")
        if WRAPPED in name and plain in tuned:
            dropped[name] = "a LayerNorm as it was before tuning"
        elif LN_TUNED not in name and not name.endswith((LORA_A, LORA_B)):
            if plain in folded:
                raise ArtifactError(f"the checkpoint holds {plain} more than once")
            folded[plain] = tensor
    _add_lora(folded, tensors, lora)
    if strange := [name for name in folded if ".lora_" in name or ".ln_tuning_layers." in name]:
        raise ArtifactError(f"adapters that cannot be folded: {listed(strange)}")
    return folded, dropped


def _add_lora(folded: Tensors, tensors: Tensors, lora: LoraScale | None) -> None:
    """Add factor * B A to each wrapped weight, in place."""
    halves = [{name.removesuffix(end) for name in tensors if name.endswith(end)} for end in (LORA_A, LORA_B)]
    if incomplete := halves[0] ^ halves[1] | {name for name in halves[0] if f"{name}{WRAPPED}weight" not in tensors}:
        raise ArtifactError(f"lora_A, lora_B or the layer below is missing: {listed([*incomplete])}")
    if halves[0] and lora is None:
        raise ArtifactError(
            "the checkpoint has LoRA updates, but not their scale: give it a config.json beside it with "
            '{"peft_v2": {"lora": {"rank": R, "alpha": A}}} as it was trained'
        )
    for name in halves[0]:
        a, b, weight = tensors[name + LORA_A].float(), tensors[name + LORA_B].float(), folded[f"{name}.weight"]
        if lora is None or a.shape[0] != lora.rank:
            raise ArtifactError(f"{name} has LoRA updates of rank {a.shape[0]}, the settings say {lora}")
        folded[f"{name}.weight"] = weight.float() + lora.factor * b @ a
