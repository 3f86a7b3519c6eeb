"""Perception Encoder and DINOv3 against other definitions of them; CLIP's is in test_encoder.py."""

import pytest
import timm
import torch
from torch import nn
from transformers import DINOv3ViTConfig, DINOv3ViTModel

from lnclip.architecture import KNOWN, EncoderArchitecture
from lnclip.encoder import FaceEncoder

SMALL_DINO = EncoderArchitecture(name="small", family="dinov3", width=64, layers=3, heads=4, patch_px=16)


def randomised(architecture: EncoderArchitecture, input_px: int) -> FaceEncoder:
    """Every tensor moved: biases, norms and layer scales begin at values that hide mistakes."""
    torch.manual_seed(0)
    encoder = FaceEncoder(architecture, architecture.activation, input_px).eval()
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return encoder


def hugging_face_name(name: str) -> str:
    """timm's name of a DINOv3 tensor in Hugging Face's words."""
    for ours, theirs in (
        ("cls_token", "embeddings.cls_token"), ("reg_token", "embeddings.register_tokens"),
        ("patch_embed.proj.", "embeddings.patch_embeddings."), ("blocks.", "model.layer."),
        ("gamma_1", "layer_scale1.lambda1"), ("gamma_2", "layer_scale2.lambda1"), ("attn.proj.", "attention.o_proj."),
        ("attn.", "attention."), ("fc1", "up_proj"), ("fc2", "down_proj"),
    ):  # fmt: skip
        name = name.replace(ours, theirs)
    return name


@pytest.mark.parametrize("input_px", [64, 96])
def test_dinov3s_feature_is_the_class_token_of_hugging_faces_last_hidden_state(input_px):
    encoder = randomised(SMALL_DINO, 64)
    twin = DINOv3ViTModel(
        DINOv3ViTConfig(
            hidden_size=64, intermediate_size=256, num_hidden_layers=3, num_attention_heads=4,
            num_register_tokens=4, image_size=64,
        )
    ).eval()  # fmt: skip
    weights = {hugging_face_name(name): value for name, value in encoder.visual.state_dict().items()}
    missing, unexpected = twin.load_state_dict(weights, strict=False)
    assert (missing, unexpected) == (["embeddings.mask_token"], [])
    pixels = torch.randn(3, 3, input_px, input_px)
    with torch.no_grad():
        feature, expected = encoder.visual(pixels), twin(pixels).last_hidden_state[:, 0]
        torch.testing.assert_close(feature, expected, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(encoder(pixels).embedding, nn.functional.normalize(expected), atol=1e-6, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "timms"),
    [("PE-Core-B-16", "vit_pe_core_base_patch16_224"), ("PE-Core-L-14", "vit_pe_core_large_patch14_336")],
)
def test_perception_encoders_feature_is_that_of_timms_model_without_its_head(name, timms):
    """At 224, for which PE-Core-L-14's positions are resampled, as the papers use it; two layers of it."""
    encoder = randomised(KNOWN[name].model_copy(update={"layers": 2}), 224)
    twin = timm.create_model(timms, depth=2, num_classes=0, dynamic_img_size=True).eval()
    twin.load_state_dict(encoder.visual.state_dict())
    pixels = torch.randn(2, 3, 224, 224)
    with torch.no_grad():
        expected = twin(pixels)
        torch.testing.assert_close(encoder.visual(pixels), expected, atol=1e-5, rtol=1e-5)
        # The pooling block's output, not a token's: both come from the same tokens.
        pooled = twin.attn_pool(twin.forward_features(pixels))
        torch.testing.assert_close(expected, pooled, atol=1e-5, rtol=1e-5)
    assert encoder.visual.pos_embed.shape[1] == 1 + (KNOWN[name].position_px // KNOWN[name].patch_px) ** 2


def test_dinov3s_names_follow_timms_model_with_separate_projections():
    twin = timm.create_model("vit_base_patch16_dinov3_qkvb", depth=1, num_classes=0, qkv_fused=False)
    ours = FaceEncoder(KNOWN["DINOv3-B-16"].model_copy(update={"layers": 1}), "gelu", 224).visual
    assert {n: t.shape for n, t in ours.state_dict().items()} == {n: t.shape for n, t in twin.state_dict().items()}
