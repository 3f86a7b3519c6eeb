"""Imported runs say what the networks that they came from say: Hugging Face's, timm's and peft's own forward passes."""

import numpy as np
import pytest
import torch

from lnclip.encoder import load_run
from lnclip.errors import ArtifactError, ConfigError
from lnclip.geometry import target_landmarks
from lnclip.identity import file_sha256
from lnclip.spec import CLIP_MEAN, IMAGENET_MEAN, IMAGENET_STD
from tests.training.published import checkpoints
from training.published.importing import import_run

VISION = "feature_extractor.vision_model"
BACKBONES = {"clip": "openai/clip-tiny", "pe": "vit_pe_core_tiny", "dinov3": "facebook/dinov3-tiny"}


def original(family):
    return {"clip": lambda: checkpoints.clip()[1], "pe": checkpoints.pe, "dinov3": checkpoints.dinov3}[family]()


def imported_logits(run, pixels):
    _, encoder = load_run(run)
    with torch.no_grad():
        return encoder(pixels).logits


def pixels_for(network, seed=2):
    return torch.randn(3, 3, network.input_px, network.input_px, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("head_name", ["linear", "LinearNorm"])
@pytest.mark.parametrize("family", ["clip", "pe", "dinov3"])
def test_a_gend_folder_gives_its_own_logits(family, head_name, tmp_path):
    network, head = original(family), checkpoints.face_head()
    tensors = checkpoints.gend_tensors(network.tensors, head)
    source = checkpoints.write_folder(tmp_path / "gend", tensors, checkpoints.gend_config(BACKBONES[family], head_name))
    artifact = import_run(str(source), tmp_path / "run")
    pixels = pixels_for(network)
    expected = checkpoints.logits(network, head, pixels, normalise=head_name == "LinearNorm")
    assert expected.std() > 0.01
    torch.testing.assert_close(imported_logits(tmp_path / "run", pixels), expected, atol=1e-5, rtol=1e-5)
    assert artifact.identity.encoder.family == family
    assert artifact.identity.head == {"linear": "linear", "LinearNorm": "normalised"}[head_name]
    assert artifact.identity.class_order == ("real", "fake")


def test_a_gend_lightning_checkpoint_gives_its_own_logits(tmp_path):
    network, head = original("clip"), checkpoints.face_head()
    tensors = checkpoints.gend_tensors(network.tensors, head)
    source = checkpoints.write_checkpoint(tmp_path / "best.ckpt", tensors, checkpoints.hyper_parameters())
    artifact = import_run(str(source), tmp_path / "run")
    pixels = pixels_for(network)
    expected = checkpoints.logits(network, head, pixels, normalise=True)
    torch.testing.assert_close(imported_logits(tmp_path / "run", pixels), expected, atol=1e-5, rtol=0)
    assert (artifact.identity.spec.estimator, artifact.identity.spec.crop_px) == ("lmeds", None)


def test_a_checkpoint_tuned_by_peft_gives_its_tuned_logits(tmp_path):
    """The doubled LayerNorms of deepfake-detection, made by peft itself."""
    tensors, network = checkpoints.ln_tuned()
    head = checkpoints.face_head()
    tensors |= {f"model.linear.{name}": tensor for name, tensor in head.state_dict().items()}
    assert sum(".base_layer." in name for name in tensors) == 2 * (2 * checkpoints.LAYERS + 2)
    source = checkpoints.write_checkpoint(tmp_path / "model.ckpt", tensors, checkpoints.hyper_parameters())
    artifact = import_run(str(source), tmp_path / "run")
    pixels = pixels_for(network)
    expected = checkpoints.logits(network, head, pixels, normalise=True)
    torch.testing.assert_close(imported_logits(tmp_path / "run", pixels), expected, atol=1e-5, rtol=0)
    spec = artifact.identity.spec
    assert (spec.estimator, spec.crop_px, spec.resize, spec.mean) == ("least_squares", 256, "pil_bicubic", CLIP_MEAN)
    assert "2503.19683" in artifact.provenance.threshold_source


@pytest.mark.parametrize("rslora", [False, True])
def test_lora_updates_are_merged(rslora, tmp_path):
    tensors, network = checkpoints.lora_tuned(use_rslora=rslora)
    head = checkpoints.face_head()
    tensors |= {f"model.linear.{name}": tensor for name, tensor in head.state_dict().items()}
    settings = checkpoints.hyper_parameters(peft_v2={"lora": {"rank": 2, "alpha": 32, "use_rslora": rslora}})
    source = checkpoints.write_checkpoint(tmp_path / "model.ckpt", tensors, settings)
    import_run(str(source), tmp_path / "run")
    pixels = pixels_for(network)
    expected = checkpoints.logits(network, head, pixels, normalise=True)
    torch.testing.assert_close(imported_logits(tmp_path / "run", pixels), expected, atol=1e-5, rtol=0)


def test_the_first_papers_profile_has_deepfakebenchs_template(tmp_path):
    """The numbers of DeepfakeBench's own arithmetic, to the digits that they were written down with."""
    tensors, _ = checkpoints.ln_tuned()
    tensors |= {f"model.linear.{name}": tensor for name, tensor in checkpoints.face_head().state_dict().items()}
    source = checkpoints.write_checkpoint(tmp_path / "model.ckpt", tensors, checkpoints.hyper_parameters())
    spec = import_run(str(source), tmp_path / "run").identity.spec
    expected = [(0.3784, 0.4704), (0.6204, 0.4691), (0.5002, 0.6081), (0.4008, 0.7498), (0.6012, 0.7487)]
    np.testing.assert_allclose(target_landmarks(spec, 1), expected, atol=6e-5)


def test_each_encoder_keeps_its_own_preprocessing(tmp_path):
    specs = {}
    for family, backbone in BACKBONES.items():
        tensors = checkpoints.gend_tensors(original(family).tensors, checkpoints.face_head())
        source = checkpoints.write_folder(tmp_path / family, tensors, checkpoints.gend_config(backbone))
        specs[family] = import_run(str(source), tmp_path / f"run-{family}").identity.spec
    assert {(s.estimator, s.crop_px, s.crop_scale) for s in specs.values()} == {("lmeds", None, 1.3)}
    assert (specs["clip"].input_px, specs["clip"].resize, specs["clip"].mean) == (48, "pil_bicubic", CLIP_MEAN)
    assert (specs["pe"].input_px, specs["pe"].mean, specs["pe"].std) == (224, (0.5,) * 3, (0.5,) * 3)
    assert (specs["dinov3"].resize, specs["dinov3"].mean) == ("antialiased_bilinear", IMAGENET_MEAN)
    assert (specs["dinov3"].input_px, specs["dinov3"].std) == (224, IMAGENET_STD)


def test_row_0_of_a_published_head_is_real(tmp_path):
    network, head = original("clip"), checkpoints.face_head()
    with torch.no_grad():
        head.weight.zero_()
        head.bias.copy_(torch.tensor([1.0, -2.0]))
    source = checkpoints.write_folder(
        tmp_path / "gend", checkpoints.gend_tensors(network.tensors, head), checkpoints.gend_config("openai/clip-tiny")
    )
    artifact = import_run(str(source), tmp_path / "run")
    [logits, *_] = imported_logits(tmp_path / "run", pixels_for(network))
    assert logits.tolist() == [1, -2]
    assert artifact.identity.class_order.index("real") == 0


def test_provenance_names_the_files_by_their_checksums(tmp_path):
    network = original("clip")
    tensors = checkpoints.gend_tensors(network.tensors, checkpoints.face_head())
    source = checkpoints.write_folder(tmp_path / "gend", tensors, checkpoints.gend_config("openai/clip-tiny"))
    provenance = import_run(str(source), tmp_path / "run").provenance
    assert provenance.inputs == {name: file_sha256(source / name) for name in ("model.safetensors", "config.json")}
    assert provenance.name == "run"


def test_half_precision_tensors_are_widened(tmp_path):
    network, head = original("clip"), checkpoints.face_head()
    tensors = {name: t.bfloat16() for name, t in checkpoints.gend_tensors(network.tensors, head).items()}
    source = checkpoints.write_folder(tmp_path / "gend", tensors, checkpoints.gend_config("openai/clip-tiny"))
    import_run(str(source), tmp_path / "run")
    _, encoder = load_run(tmp_path / "run")
    assert torch.equal(encoder.head.weight, head.weight.bfloat16().float())


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (lambda t: t.update({f"{VISION}.extra": torch.zeros(1)}), "vision_model.extra"),
        (lambda t: t.update({"temperature": torch.zeros(1)}), "temperature: neither the encoder's nor the head's"),
        (lambda t: t.pop(f"{VISION}.pre_layrnorm.bias"), "visual.ln_pre.bias is missing"),
        (lambda t: t.pop(f"{VISION}.encoder.layers.1.self_attn.k_proj.bias"), "in_proj_bias is missing"),
        (lambda t: t.pop("model.linear.bias"), "head.bias is missing"),
        (lambda t: t.update({"model.linear.weight": torch.zeros(3, 64)}), r"head.weight is \(3, 64\), must be"),
        (lambda t: t["model.linear.weight"].fill_(float("nan")), "not of finite floating-point numbers: head.weight"),
        (lambda t: t.update({"model.linear.bias": torch.zeros(2, dtype=torch.int64)}), "numbers: head.bias"),
    ],
)  # fmt: skip
def test_every_tensor_is_accounted_for(damage, complaint, tmp_path):
    network = original("clip")
    with torch.no_grad():
        tensors = checkpoints.gend_tensors(network.tensors, checkpoints.face_head())
        damage(tensors)
    source = checkpoints.write_folder(tmp_path / "gend", tensors, checkpoints.gend_config("openai/clip-tiny"))
    with pytest.raises(ArtifactError, match=complaint):
        import_run(str(source), tmp_path / "runs" / "gend")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"head": "mlp"}, "head 'mlp' is not known"),
        ({"backbone": "openai/clip-vit-large-patch14"}, "the tensors are those of CLIP-2x64-p16"),
        ({"backbone": "somebody/clip"}, "nothing says which activation somebody/clip"),
        ({"num_attention_heads": None}, "how many attention heads"),
        ({"num_attention_heads": 7}, "7 heads do not divide width 64"),
        ({"layer_norm_eps": 1e-6}, "only 1e-05 can be imported"),
        ({"hidden_act": "relu"}, "hidden_act 'relu'"),
        ({"custom_preprocessing": {"zoom_factor": 1.3}}, "custom_preprocessing"),
        ({"backbone_args": {"merge_cls_token_with_patches": "cat"}}, "merges class and patch tokens"),
    ],
)
def test_a_configuration_that_does_not_fit_is_refused(changes, complaint, tmp_path):
    tensors = checkpoints.gend_tensors(original("clip").tensors, checkpoints.face_head())
    config = checkpoints.gend_config("openai/clip-tiny") | changes
    source = checkpoints.write_folder(tmp_path / "gend", tensors, config)
    with pytest.raises(ArtifactError, match=complaint):
        import_run(str(source), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_head_of_unknown_kind_is_refused(tmp_path):
    """Linear and normalised heads have the same tensors."""
    tensors = checkpoints.gend_tensors(original("clip").tensors, checkpoints.face_head())
    source = checkpoints.write_folder(tmp_path / "gend", tensors, {"hidden_act": "gelu", "num_attention_heads": 4})
    with pytest.raises(ArtifactError, match="nothing says whether the head reads normalised features"):
        import_run(str(source), tmp_path / "run")


def test_lora_of_unknown_scale_is_refused(tmp_path):
    tensors, _ = checkpoints.lora_tuned()
    tensors |= {f"model.linear.{name}": tensor for name, tensor in checkpoints.face_head().state_dict().items()}
    source = checkpoints.write_checkpoint(tmp_path / "model.ckpt", tensors, checkpoints.hyper_parameters())
    with pytest.raises(ArtifactError, match="not their scale"):
        import_run(str(source), tmp_path / "run")


def test_dora_is_refused_by_name(tmp_path):
    tensors, _ = checkpoints.lora_tuned(use_dora=True)
    settings = checkpoints.hyper_parameters(peft_v2={"lora": {"rank": 2, "alpha": 32}})
    source = checkpoints.write_checkpoint(tmp_path / "model.ckpt", tensors, settings)
    with pytest.raises(ArtifactError, match="lora_magnitude_vector"):
        import_run(str(source), tmp_path / "run")


def test_what_is_there_already_is_kept(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.txt").write_text("mine")
    source = checkpoints.write_folder(tmp_path / "clip", original("clip").tensors, {"model_type": "clip_vision_model"})
    with pytest.raises(ConfigError, match="is there already"):
        import_run(str(source), tmp_path / "run")
    assert [file.name for file in (tmp_path / "run").iterdir()] == ["notes.txt"]
