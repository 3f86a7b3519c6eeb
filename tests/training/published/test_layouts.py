"""The published files' predicted tensors, by name and shape alone, go into our networks without one left over."""

import pytest
import timm
import torch
from torch import nn
from transformers import CLIPVisionConfig, CLIPVisionModel, DINOv3ViTConfig, DINOv3ViTModel

from lnclip.architecture import KNOWN
from lnclip.encoder import FaceEncoder
from lnclip.errors import ArtifactError
from tests.training.published.checkpoints import gend_tensors
from training.published.adapters import LoraScale, fold
from training.published.recognition import recognise, sort
from training.published.settings import Settings

LARGE = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16}


def clip_large(side=224):
    with torch.device("meta"):
        model = CLIPVisionModel(CLIPVisionConfig(image_size=side, patch_size=14, **LARGE))
    return {f"vision_model.{name.removeprefix('vision_model.')}": t for name, t in model.state_dict().items()}


def as_gend(encoder):
    with torch.device("meta"):
        tensors = gend_tensors(encoder, nn.Linear(1024, 2))
        if "feature_extractor.visual_projection.weight" in tensors:
            tensors["feature_extractor.visual_projection.weight"] = torch.empty(768, 1024)
    return tensors


def with_doubled_norms(tensors):
    """As peft's LN tuning names them: each LayerNorm twice, below another prefix."""
    doubled = {}
    for name, tensor in tensors.items():
        stem, _, part = name.rpartition(".")
        if name.startswith("model."):
            doubled[name] = tensor
            continue
        stem = stem.replace("feature_extractor.", "feature_extractor.base_model.model.")
        if "layer_norm" in name or "layrnorm" in name or "layernorm" in name:
            doubled[f"{stem}.base_layer.{part}"] = tensor
            doubled[f"{stem}.ln_tuning_layers.default.{part}"] = tensor
        else:
            doubled[f"{stem}.{part}"] = tensor
    return doubled


def check(tensors, name):
    """All of them are placed, and exactly our network's."""
    parts = sort(tensors, Settings())
    architecture, input_px = recognise(parts.encoder, Settings())
    assert architecture == KNOWN[name]
    with torch.device("meta"):
        expected = FaceEncoder(architecture, architecture.activation, input_px).state_dict()
    filled = {f"visual.{key}": tensor for key, tensor in parts.encoder.weights.items()}
    filled |= {f"head.{key}": tensor for key, tensor in parts.head.items()}
    assert {key: tensor.shape for key, tensor in filled.items()} == {key: t.shape for key, t in expected.items()}
    return parts


def num_parameters(tensors):
    return sum(tensor.numel() for tensor in tensors.values())


def test_gend_clip_l14():
    """394 tensors and 303,968,258 numbers of four bytes: all but the header of the published 1,215,928,160 bytes."""
    tensors = as_gend(clip_large())
    assert (len(tensors), num_parameters(tensors)) == (394, 303_968_258)
    assert 0 < 1_215_928_160 - 4 * num_parameters(tensors) < 65_536
    parts = check(tensors, "ViT-L-14")
    assert parts.profile == "GenD"
    assert list(parts.dropped) == ["visual_projection.weight"]
    assert num_parameters(parts.encoder.weights) == 303_179_776


def test_deepfake_detection_clip_l14():
    tensors = with_doubled_norms(as_gend(clip_large()))
    del tensors["feature_extractor.base_model.model.visual_projection.weight"]
    assert len(tensors) == 493
    parts = check(tensors, "ViT-L-14")
    assert parts.profile == "deepfake-detection"
    assert len(parts.dropped) == 100


def test_clip_l14_336():
    parts = check(as_gend(clip_large(336)), "ViT-L-14-336")
    assert num_parameters(parts.encoder.weights) == 303_507_456


def test_gend_pe_l14():
    with torch.device("meta"):
        model = timm.create_model("vit_pe_core_large_patch14_336", num_classes=0)
    tensors = as_gend(model.state_dict())
    assert (len(tensors), num_parameters(model.state_dict())) == (308 + 2, 316_102_656)
    check(tensors, "PE-Core-L-14")


def test_gend_dinov3_l16():
    with torch.device("meta"):
        model = DINOv3ViTModel(DINOv3ViTConfig(num_register_tokens=4, **LARGE))
    assert num_parameters(model.state_dict()) == 303_129_600
    parts = check(as_gend(model.state_dict()), "DINOv3-L-16")
    assert list(parts.dropped) == ["embeddings.mask_token"]


def test_a_known_backbone_contradicted_by_the_shapes_is_refused():
    parts = sort(as_gend(clip_large()), Settings())
    with pytest.raises(ArtifactError, match="says openai/clip-vit-base-patch16, the tensors are those of ViT-L-14"):
        recognise(parts.encoder, Settings(backbone="openai/clip-vit-base-patch16"))


def test_a_tensor_under_two_names_is_refused():
    tensors = as_gend(clip_large())
    again = "feature_extractor.embeddings.class_embedding"
    tensors[again] = tensors["feature_extractor.vision_model.embeddings.class_embedding"]
    with pytest.raises(ArtifactError, match=r"embeddings.class_embedding are one tensor"):
        sort(tensors, Settings())


def test_lora_by_hand():
    """W + alpha / r B A, on numbers small enough to check."""
    wrapped = {
        "a.base_layer.weight": torch.tensor([[1.0, 2.0], [3.0, 4.0]]),
        "a.lora_A.default.weight": torch.tensor([[1.0, -1.0]]),
        "a.lora_B.default.weight": torch.tensor([[2.0], [0.5]]),
    }
    folded, _ = fold(wrapped, LoraScale(1, 3.0, rank_stabilised=False))
    assert folded["a.weight"].tolist() == [[7, -4], [4.5, 2.5]]


def test_half_a_lora_update_is_refused():
    wrapped = {"a.base_layer.weight": torch.zeros(2, 2), "a.lora_B.default.weight": torch.zeros(2, 1)}
    with pytest.raises(ArtifactError, match="is missing: a"):
        fold(wrapped, LoraScale(1, 3.0, rank_stabilised=False))
