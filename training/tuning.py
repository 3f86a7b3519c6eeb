"""Which parameters learn: the head always, and of the encoder what a mode names.

Legend: N faces, T tokens, Q of them asking, D width, H attention heads.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import cast

from timm.layers.attention import AttentionRope
from timm.layers.attention_pool import AttentionPoolLatent
from timm.models.eva import EvaAttention
from torch import Tensor, nn

from lnclip.encoder import FaceEncoder
from lnclip.towers import Attention
from training.config import Lora, Tune


class LayeredAttention(nn.Module):
    """What the CLIP tower's ``Attention`` computes, its matrices in layers that LoRA can wrap.

    There the first matrix is no layer's, and in open_clip's own attention the second one is read
    past its layer's forward, so that wrapping it does nothing. peft's wrapper of the whole (seen in
    0.21) adds the second one's update twice, knows no dropout, and adds and subtracts updates in
    place, whose rounding errors stay in the frozen weights.
    """

    def __init__(self, plain: Attention) -> None:
        """Takes over the parameters themselves; no copy is made."""
        super().__init__()
        self.num_heads = plain.num_heads
        self.in_proj = nn.Linear(plain.embed_dim, 3 * plain.embed_dim, device="meta")
        self.in_proj.weight, self.in_proj.bias = plain.in_proj_weight, plain.in_proj_bias
        self.out_proj = plain.out_proj

    def forward(self, asking_NQD: Tensor, x_NTD: Tensor, *_same: Tensor, **_unmasked: object) -> tuple[Tensor, None]:
        """Called like the original; the tokens that ask are the first of those that answer."""
        q_k_v = self.in_proj(x_NTD).unflatten(2, (3, self.num_heads, -1))
        q_NHTd, k_NHTd, v_NHTd = q_k_v.permute(2, 0, 3, 1, 4)
        q_NHQd = q_NHTd[:, :, : asking_NQD.shape[1]]
        values_NHQd = nn.functional.scaled_dot_product_attention(q_NHQd, k_NHTd, v_NHTd)
        return self.out_proj(values_NHQd.transpose(1, 2).flatten(2)), None

    def plain(self) -> Attention:
        """The same parameters in the tower's own module."""
        attention = Attention(self.in_proj.in_features, self.num_heads, batch_first=True, device="meta")
        attention.in_proj_weight, attention.in_proj_bias = cast("nn.Parameter", self.in_proj.weight), self.in_proj.bias
        attention.out_proj = self.out_proj
        return attention


ATTENTIONS = (LayeredAttention, AttentionRope, EvaAttention, AttentionPoolLatent)
"""Every attention of the three families, PE's pooling block among them."""


def select_trainable(encoder: FaceEncoder, tune: Tune, lora: Lora) -> None:
    """Leave gradients on for what ``tune`` names and the head; the rest is frozen and gets none.

    layernorm: weight and bias of every LayerNorm, found by type: a misspelt name once left CLIP's
    first norm frozen in the reference code without anybody noticing. bitfit: every bias, those of
    the norms among them. lora: low-rank updates of every matrix of the attention, and nothing else.

    Raises:
        ValueError: the encoder has LoRA layers already; ``merge`` them first.
    """
    if _has_lora(encoder):
        raise ValueError("the encoder has LoRA layers already: merge them first")
    encoder.visual.requires_grad_(tune == "full")
    if tune == "layernorm":
        for parameter in _norm_parameters(encoder.visual):
            parameter.requires_grad_()
    elif tune == "bitfit":
        for name, parameter in encoder.visual.named_parameters():
            parameter.requires_grad_(name.endswith("bias"))
    elif tune == "lora":
        _add_lora(encoder.visual, lora)
    encoder.head.requires_grad_()


def _norm_parameters(module: nn.Module) -> Iterator[nn.Parameter]:
    for part in module.modules():
        if isinstance(part, nn.LayerNorm):
            yield from part.parameters()


def _add_lora(visual: nn.Module, settings: Lora) -> None:
    """Wrap the attention's matrices in place; peft sets the updates trainable and all else not."""
    from peft import LoraConfig, inject_adapter_in_model  # imports transformers: seconds

    for name, part in list(visual.named_modules()):
        if isinstance(part, Attention):
            visual.set_submodule(name, LayeredAttention(part))
    targets = [
        f"{name}.{layer}"
        for name, part in visual.named_modules()
        if isinstance(part, ATTENTIONS)
        for layer, child in part.named_children()
        if isinstance(child, nn.Linear)
    ]
    config = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,  # type: ignore[arg-type]  # any number is right, it is divided by the rank
        lora_dropout=settings.dropout,
        target_modules=targets,
    )
    inject_adapter_in_model(config, visual)


def _has_lora(encoder: FaceEncoder) -> bool:
    return any(".lora_A." in name for name, _ in encoder.named_parameters())


def merge(encoder: FaceEncoder) -> FaceEncoder:
    """A copy with LoRA's updates added to the weights they update, all names as before LoRA.

    An encoder without LoRA is returned as it is.
    """
    if not _has_lora(encoder):
        return encoder
    from peft.tuners.lora import LoraLayer

    merged = copy.deepcopy(encoder)
    for name, part in list(merged.named_modules()):
        if isinstance(part, LoraLayer):
            part.merge()
            merged.set_submodule(name, part.get_base_layer())
    for name, part in list(merged.named_modules()):
        if isinstance(part, LayeredAttention):
            merged.set_submodule(name, part.plain())
    return merged.train(encoder.training)  # what was put in knows nothing of the mode


def parameter_groups(encoder: FaceEncoder, weight_decay: float) -> list[dict[str, object]]:
    """The trainable parameters for an optimiser: matrices decay; vectors (norms, biases) never do."""
    trainable = [parameter for parameter in encoder.parameters() if parameter.requires_grad]
    return [
        {"params": [parameter for parameter in trainable if parameter.ndim >= 2], "weight_decay": weight_decay},
        {"params": [parameter for parameter in trainable if parameter.ndim < 2], "weight_decay": 0.0},
    ]
