"""Small random checkpoints as other people's code writes them, and what their networks say."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import timm
import torch
from peft import LNTuningConfig, LoraConfig, get_peft_model
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import CLIPVisionConfig, CLIPVisionModel, DINOv3ViTConfig, DINOv3ViTModel

WIDTH, LAYERS, HEADS, PATCH = 64, 2, 4, 16
CLIP_PX = 48
"""3 x 3 patches."""

Tensors = dict[str, Tensor]
Features = Callable[[Tensor], Tensor]


class Original(NamedTuple):
    """An encoder of somebody else: its tensors as they are in a file, and what it computes."""

    tensors: Tensors
    features: Features
    """(N, 3, S, S) -> (N, D)."""

    input_px: int


def livened(model: nn.Module, scale: float = 0.2) -> nn.Module:
    """Every tensor moved away from zeros and ones, so that a swapped or forgotten one shows."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(scale * torch.randn(parameter.shape, generator=generator))
    return model.eval()


def clip(hidden_act: str = "quick_gelu") -> tuple[CLIPVisionModel, Original]:
    """Hugging Face's, its tensors named as in the files that transformers 4 wrote."""
    torch.manual_seed(0)
    config = CLIPVisionConfig(
        hidden_size=WIDTH, intermediate_size=3 * WIDTH, num_hidden_layers=LAYERS, num_attention_heads=HEADS,
        image_size=CLIP_PX, patch_size=PATCH, hidden_act=hidden_act,
    )  # fmt: skip
    model = livened(CLIPVisionModel(config))
    tensors = {f"vision_model.{name.removeprefix('vision_model.')}": t for name, t in model.state_dict().items()}
    return model, Original(tensors, lambda pixels: model(pixels).pooler_output, CLIP_PX)


def dinov3() -> Original:
    """Hugging Face's, named as in its files (in memory, transformers 5 calls the layers model.layer)."""
    torch.manual_seed(0)
    config = DINOv3ViTConfig(
        hidden_size=WIDTH, intermediate_size=4 * WIDTH, num_hidden_layers=LAYERS, num_attention_heads=HEADS,
        image_size=224, patch_size=PATCH, num_register_tokens=4,
    )  # fmt: skip
    model = livened(DINOv3ViTModel(config))
    tensors = {name.removeprefix("model."): tensor for name, tensor in model.state_dict().items()}
    return Original(tensors, lambda pixels: model(pixels).last_hidden_state[:, 0], 224)


def pe() -> Original:
    """timm's, asked for by name as GenD does, for an input other than its own."""
    torch.manual_seed(0)
    model = timm.create_model(
        "vit_pe_core_base_patch16_224", pretrained=False, dynamic_img_size=True, num_classes=0, img_size=64,
        embed_dim=WIDTH, depth=LAYERS, num_heads=HEADS, ref_feat_shape=(4, 4),
    )  # fmt: skip
    livened(model)
    return Original(model.state_dict(), model, 224)


def timm_dinov3(name: str) -> Original:
    torch.manual_seed(0)
    model = timm.create_model(
        name, pretrained=False, num_classes=0, global_pool="token", embed_dim=WIDTH, depth=LAYERS, num_heads=HEADS
    )
    livened(model)
    return Original(model.state_dict(), model, 224)


def face_head(seed: int = 1) -> nn.Linear:
    torch.manual_seed(seed)
    return nn.Linear(WIDTH, 2)


def logits(original: Original, head: nn.Linear, pixels: Tensor, *, normalise: bool) -> Tensor:
    """GenD's forward pass, written out: z = f / max(|f|, 1e-12); W z + b."""
    with torch.no_grad():
        features = original.features(pixels)
        if normalise:
            features = features / features.square().sum(dim=1, keepdim=True).sqrt().clamp(min=1e-12)
        return features @ head.weight.T + head.bias


def gend_tensors(encoder: Tensors, head: nn.Linear) -> Tensors:
    """Source: reference of GenD's file layout."""
    inner = "" if any(name.startswith("vision_model.") for name in encoder) else "backbone."
    tensors = {f"feature_extractor.{inner}{name}": tensor for name, tensor in encoder.items()}
    if not inner:
        tensors["feature_extractor.visual_projection.weight"] = torch.randn(8, WIDTH)
    return tensors | {f"model.linear.{name}": tensor for name, tensor in head.state_dict().items()}


def write_folder(folder: Path, tensors: Tensors, config: dict[str, object] | None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: t.clone().contiguous() for name, t in tensors.items()}, folder / "model.safetensors")
    if config is not None:
        (folder / "config.json").write_text(json.dumps(config))
    return folder


def gend_config(backbone: str, head: str = "LinearNorm") -> dict[str, object]:
    """And the number of heads, which GenD takes from the backbone's name."""
    return {"model_type": "GenD", "backbone": backbone, "head": head, "num_attention_heads": HEADS}


def hyper_parameters(**changes: object) -> dict[str, object]:
    given = {"backbone": "openai/clip-tiny", "head": "LinearNorm", "num_attention_heads": HEADS}
    return given | changes


def write_checkpoint(path: Path, tensors: Tensors, settings: dict[str, object]) -> Path:
    """What Lightning writes: the tensors among much else."""
    optimiser = torch.optim.AdamW([nn.Parameter(torch.zeros(3))])
    torch.save(
        {
            "epoch": 3,
            "global_step": 17,
            "pytorch-lightning_version": "2.5.0",
            "state_dict": tensors,
            "hyper_parameters": settings,
            "optimizer_states": [optimiser.state_dict()],
            "callbacks": {"ModelCheckpoint{'monitor': 'val/mAP_video'}": {"best_model_path": "x.ckpt"}},
        },
        path,
    )
    return path


class _Extractor(nn.Module):
    """The first paper's feature extractor: only the image tower."""

    def __init__(self, vision_model: nn.Module) -> None:
        super().__init__()
        self.vision_model = vision_model


def _with_adapters(kind: LNTuningConfig | LoraConfig) -> tuple[Tensors, Original]:
    """peft's own names, and what the wrapped network computes; adapters are moved as training would."""
    model, _ = clip()
    wrapped = get_peft_model(_Extractor(model), kind)
    with torch.no_grad():
        for name, parameter in wrapped.named_parameters():
            if "default" in name:
                parameter.add_(0.3 * torch.randn_like(parameter))
    wrapped.eval()
    tensors = {}
    for name, tensor in wrapped.state_dict().items():  # transformers 4 had one vision_model more or less
        tensors[f"feature_extractor.{name}"] = tensor
    return tensors, Original({}, lambda pixels: model(pixels).pooler_output, CLIP_PX)


def ln_tuned() -> tuple[Tensors, Original]:
    names = ["pre_layrnorm", "layer_norm1", "layer_norm2", "post_layernorm"]
    return _with_adapters(LNTuningConfig(target_modules=names))


def lora_tuned(**options: object) -> tuple[Tensors, Original]:
    return _with_adapters(LoraConfig(target_modules=["out_proj"], r=2, lora_alpha=32, lora_dropout=0.1, **options))
