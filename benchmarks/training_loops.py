"""One optimiser step of LN-tuning, ours and as the papers' code takes it, on the same weights and crops.

Each variant lives in a process of its own, so that its peak memory is its own. Legend: N crops.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from lnclip.architecture import KNOWN
from lnclip.encoder import FaceEncoder
from training.config import TrainConfig

Variant = Literal["ours", "papers", "full"]
VARIANTS: tuple[Variant, ...] = ("ours", "papers", "full")
"""ours: what `training fit` does. papers: transformers' encoder, eager, LayerNorms found by name and
trainable, the rest frozen. full: the same with everything trainable."""

LEARNING_RATE = 3e-4
LAYER_NORM_NAMES = ("pre_layrnorm", "layer_norm1", "layer_norm2", "post_layernorm")
"""Source: arXiv 2508.06248's code; the first is spelt so in transformers."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What all variants are given."""

    encoder: str
    batch_size: int
    compile: bool
    threads: int

    def config(self) -> TrainConfig:
        """The final recipe's losses."""
        return TrainConfig.model_validate(
            {"train_index": "-", "encoder": self.encoder, "alignment_weight": 0.1, "uniformity_weight": 0.5}
        )


class Measured(NamedTuple):
    """One answer of a variant's process."""

    seconds: float
    loss: float
    peak_bytes: int
    """Of the process (CPU) or of its tensors (GPU), so far."""

    trainable: int


Step = Callable[[], float]


def serve_variant(variant: Variant, setting: Setting, pipe: Connection) -> None:
    """Take a step for every number of warm-ups or steps asked for, until told 0; the body of a process."""
    torch.set_num_threads(setting.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(0)
    side = KNOWN[setting.encoder].spec.input_px
    pixels = torch.randn(setting.batch_size, 3, side, side, device=device)
    columns = torch.arange(setting.batch_size, device=device) % 2
    ours, theirs = twins(setting.encoder)
    if variant == "ours":
        step, trainable = _our_step(ours, setting, (pixels, columns))
    else:
        step, trainable = _papers_step(theirs, ours.head, (pixels, columns), full=variant == "full")
    del ours, theirs  # the step keeps what it needs: memory shall be of one network
    while count := pipe.recv():
        _wait(device)
        began = time.perf_counter()
        for _ in range(count):
            loss = step()
        _wait(device)
        pipe.send(Measured(time.perf_counter() - began, loss, _peak_bytes(device), trainable))


def _our_step(encoder: FaceEncoder, setting: Setting, batch: tuple[Tensor, Tensor]) -> tuple[Step, int]:
    """The functions that ``training.tuner`` calls, without Lightning around them."""
    from training.losses import compute
    from training.tuning import parameter_groups, select_trainable

    config, (pixels, columns) = setting.config(), batch
    encoder = encoder.to(pixels.device).train()
    select_trainable(encoder, "layernorm", config.lora)
    optimiser = torch.optim.AdamW(parameter_groups(encoder, 0.0), lr=LEARNING_RATE)
    visual = torch.compile(encoder.visual) if setting.compile else encoder.visual

    def step() -> float:
        with _autocast(pixels.device):
            encoding = encoder.classify(visual(pixels))
            loss = compute(encoding, columns, config).total
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        optimiser.zero_grad()
        return float(loss.detach())

    return step, sum(p.numel() for p in encoder.parameters() if p.requires_grad)


def _papers_step(vision: nn.Module, head: nn.Linear, batch: tuple[Tensor, Tensor], *, full: bool) -> tuple[Step, int]:
    """The papers' loop."""
    pixels, columns = batch
    vision, head = vision.to(pixels.device).train(), head.to(pixels.device)
    if not full:
        for name, parameter in vision.named_parameters():
            parameter.requires_grad_(any(word in name for word in LAYER_NORM_NAMES))
    trainable = [p for module in (vision, head) for p in module.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(trainable, lr=LEARNING_RATE, weight_decay=0.0)

    def step() -> float:
        with _autocast(pixels.device):
            embedding = nn.functional.normalize(vision(pixel_values=pixels).pooler_output, dim=1)
            loss = nn.functional.cross_entropy(head(embedding), columns)
            squared = torch.pdist(embedding.float()) ** 2
            first, second = torch.triu_indices(len(columns), len(columns), 1, device=columns.device)
            loss = loss + 0.1 * squared[columns[first] == columns[second]].mean()
            loss = loss + 0.5 * torch.log(torch.exp(-2 * squared).mean().clamp(min=1e-6))
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        optimiser.zero_grad()
        return float(loss.detach())

    return step, sum(p.numel() for p in trainable)


def twins(name: str) -> tuple[FaceEncoder, nn.Module]:
    """A random encoder of ours, and a CLIPVisionModel of transformers with the same weights."""
    from transformers import CLIPVisionConfig, CLIPVisionModel

    from training.published.layouts import convert

    shape = KNOWN[name]
    vision = CLIPVisionModel(
        CLIPVisionConfig(
            hidden_size=shape.width,
            intermediate_size=int(shape.width * shape.mlp_ratio),
            num_hidden_layers=shape.layers,
            num_attention_heads=shape.heads,
            image_size=shape.spec.input_px,
            patch_size=shape.patch_px,
        )
    )
    lead = "vision_model."
    theirs = {lead + key.removeprefix(lead): tensor for key, tensor in vision.state_dict().items()}
    encoder = FaceEncoder(shape, "quick_gelu", shape.spec.input_px)
    encoder.visual.load_state_dict(convert(theirs).weights)
    return encoder, vision


def _autocast(device: torch.device) -> torch.autocast:
    """bf16 on a GPU, as the papers; FP32 on a CPU."""
    return torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda")


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def _peak_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
