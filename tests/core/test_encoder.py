import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import CLIPVisionConfig, CLIPVisionModel

from lnclip.architecture import KNOWN, EncoderArchitecture
from lnclip.artifact import Artifact
from lnclip.encoder import FaceEncoder, assert_activation, count_parameters, load_run
from lnclip.errors import ArtifactError
from lnclip.identity import file_sha256

SMALL = EncoderArchitecture(name="small", width=64, layers=3, heads=4, patch_px=16)


def hugging_face_twin(encoder: FaceEncoder, hidden_act: str) -> CLIPVisionModel:
    """An independent implementation with the same weights. Key map: Hugging Face's CLIP conversion."""
    config = CLIPVisionConfig(
        hidden_size=64, intermediate_size=256, num_hidden_layers=3, num_attention_heads=4,
        image_size=64, patch_size=16, hidden_act=hidden_act,
    )  # fmt: skip
    ours, weights = encoder.visual.state_dict(), {}
    weights["embeddings.class_embedding"] = ours["class_embedding"]
    weights["embeddings.patch_embedding.weight"] = ours["conv1.weight"]
    weights["embeddings.position_embedding.weight"] = ours["positional_embedding"]
    for part in ("weight", "bias"):
        weights[f"pre_layrnorm.{part}"] = ours[f"ln_pre.{part}"]
        weights[f"post_layernorm.{part}"] = ours[f"ln_post.{part}"]
        for index in range(3):
            block, layer = f"transformer.resblocks.{index}", f"encoder.layers.{index}"
            for name, theirs in (
                ("ln_1", "layer_norm1"), ("ln_2", "layer_norm2"), ("attn.out_proj", "self_attn.out_proj"),
                ("mlp.c_fc", "mlp.fc1"), ("mlp.c_proj", "mlp.fc2"),
            ):  # fmt: skip
                weights[f"{layer}.{theirs}.{part}"] = ours[f"{block}.{name}.{part}"]
            for name, values in zip("qkv", ours[f"{block}.attn.in_proj_{part}"].chunk(3), strict=True):
                weights[f"{layer}.self_attn.{name}_proj.{part}"] = values
    twin = CLIPVisionModel(config)
    prefix = "vision_model." if any(name.startswith("vision_model.") for name in twin.state_dict()) else ""
    missing, unexpected = twin.load_state_dict({prefix + name: w for name, w in weights.items()}, strict=False)
    assert [name for name in missing if "position_ids" not in name] == []
    assert unexpected == []
    return twin.eval()


def randomised(activation: str) -> FaceEncoder:
    torch.manual_seed(0)
    encoder = FaceEncoder(SMALL, activation, 64).eval()
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return encoder


@pytest.mark.parametrize("activation", ["quick_gelu", "gelu"])
def test_embedding_equals_hugging_faces_pooler_output(activation):
    encoder, pixels = randomised(activation), torch.randn(5, 3, 64, 64)
    with torch.no_grad():
        expected = nn.functional.normalize(hugging_face_twin(encoder, activation)(pixels).pooler_output)
        torch.testing.assert_close(encoder(pixels).embedding, expected, atol=1e-5, rtol=0)


def test_the_wrong_activation_gives_other_scores():
    """The trap: both activations load the same weights, and only the scores tell."""
    encoder, pixels = randomised("quick_gelu"), torch.randn(5, 3, 64, 64)
    with torch.no_grad():
        wrong = nn.functional.normalize(hugging_face_twin(encoder, "gelu")(pixels).pooler_output)
        assert (encoder(pixels).embedding - wrong).abs().max() > 1e-3


def test_a_block_with_the_wrong_activation_is_refused():
    encoder = randomised("quick_gelu")
    encoder.visual.transformer.resblocks[1].mlp.gelu = nn.GELU()
    with pytest.raises(ArtifactError, match="block 1 has GELU, the weights need quick_gelu"):
        assert_activation(encoder, "quick_gelu")


def test_logits_follow_the_written_formula():
    encoder = randomised("quick_gelu")
    with torch.no_grad():
        logits, embedding = encoder(torch.randn(2, 3, 64, 64))
        for row, column in ((0, 0), (1, 1)):
            by_hand = sum(
                float(w * e) for w, e in zip(encoder.head.weight[column], embedding[row], strict=True)
            ) + float(encoder.head.bias[column])
            assert float(logits[row, column]) == pytest.approx(by_hand, abs=1e-5)
    assert embedding.norm(dim=1).tolist() == pytest.approx([1, 1])


def test_a_linear_head_reads_the_raw_feature():
    torch.manual_seed(0)
    encoder = FaceEncoder(SMALL, "quick_gelu", 64, normalise=False).eval()
    pixels = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(encoder(pixels).logits, encoder.head(encoder.visual(pixels)))


@pytest.mark.parametrize(
    ("name", "parameters"), [("ViT-B-32", 87_456_000), ("ViT-B-16", 85_799_424), ("ViT-L-14", 303_179_776)]
)
def test_known_towers_have_the_published_size(name, parameters):
    with torch.device("meta"):
        encoder = FaceEncoder(KNOWN[name], "quick_gelu", 224)
    assert count_parameters(encoder.visual)[1] == parameters


@pytest.fixture
def run(random_run, tmp_path):
    """A copy that a test may damage."""
    for name in ("model.json", "weights.safetensors"):
        (tmp_path / name).write_bytes((random_run / name).read_bytes())
    return tmp_path


def test_a_run_loads_with_all_its_weights(run):
    artifact, encoder = load_run(run)
    weights = load_file(run / "weights.safetensors")
    assert artifact.identity.encoder.name == "demo-4x192-p32"
    assert all(torch.equal(value, weights[name]) for name, value in encoder.state_dict().items())


def test_other_bytes_than_model_json_names_are_refused(run):
    with (run / "weights.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x7f")
    with pytest.raises(ArtifactError, match="SHA-256"):
        load_run(run)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda w: w.pop("visual.ln_pre.weight"), "visual.ln_pre.weight is missing"),
        (lambda w: w.update(extra=torch.zeros(1)), "extra is unexpected"),
        (lambda w: w.update({"head.bias": torch.zeros(3)}), r"head.bias is \(3,\), must be \(2,\)"),
    ],
)
def test_every_tensor_is_accounted_for(run, change, complaint):
    weights = load_file(run / "weights.safetensors")
    change(weights)
    save_file(weights, run / "weights.safetensors")
    artifact = Artifact.load(run / "model.json")
    identity = artifact.identity.model_copy(update={"weights_sha256": file_sha256(run / "weights.safetensors")})
    artifact.model_copy(update={"identity": identity}).save(run / "model.json")
    with pytest.raises(ArtifactError, match=complaint):
        load_run(run)


def test_the_clip_tower_says_what_open_clips_own_says() -> None:
    """Ours has another attention, QuickGELU and last block; open_clip's takes the same weights."""
    from open_clip.transformer import QuickGELU, VisionTransformer

    torch.manual_seed(0)
    ours = FaceEncoder(KNOWN["demo-4x192-p32"], "quick_gelu", 224).visual.eval()
    theirs = VisionTransformer(
        image_size=224, patch_size=32, width=192, layers=4, heads=3, mlp_ratio=4.0, act_layer=QuickGELU, output_dim=192
    ).eval()
    theirs.proj = None
    theirs.load_state_dict(ours.state_dict())
    pixels = torch.randn(3, 3, 224, 224)
    torch.testing.assert_close(ours(pixels), theirs(pixels), atol=2e-6, rtol=0)
