"""Encoders alone, as a start for training: every published layout, with a fresh head that says so."""

import json
import logging

import open_clip
import pytest
import torch
from transformers import CLIPConfig, CLIPModel

from lnclip.architecture import KNOWN
from lnclip.artifact import Identity
from lnclip.encoder import build_encoder, load_run
from lnclip.errors import ArtifactError, ConfigError
from tests.training.published import checkpoints
from training.config import TrainConfig
from training.fitting import fit
from training.published.importing import import_run

DEMO = KNOWN["demo-4x192-p32"]


def imported_features(run, pixels):
    _, encoder = load_run(run)
    with torch.no_grad():
        return encoder.visual(pixels)


def compare(network, source, run):
    artifact = import_run(str(source), run)
    pixels = torch.randn(2, 3, network.input_px, network.input_px, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        expected = network.features(pixels)
    torch.testing.assert_close(imported_features(run, pixels), expected, atol=2e-5, rtol=1e-5)
    return artifact


@pytest.mark.parametrize("hidden_act", ["quick_gelu", "gelu"])
def test_hugging_faces_own_files_of_a_clip(hidden_act, tmp_path):
    """As transformers 5 writes them: without the prefix."""
    model, network = checkpoints.clip(hidden_act)
    model.save_pretrained(tmp_path / "clip")
    artifact = compare(network, tmp_path / "clip", tmp_path / "run")
    assert artifact.identity.activation == hidden_act


def test_a_whole_clip_loses_its_text_tower(tmp_path):
    vision, network = checkpoints.clip()
    text = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "vocab_size": 9,
    }
    model = CLIPModel(CLIPConfig(text_config=text, vision_config=vision.config.to_dict(), projection_dim=8))
    inner = {name.removeprefix("vision_model."): tensor for name, tensor in network.tensors.items()}
    missing, unexpected = model.vision_model.load_state_dict(inner, strict=False)
    assert (missing, unexpected) == ([], [])
    model.save_pretrained(tmp_path / "clip")
    artifact = compare(network, tmp_path / "clip", tmp_path / "run")
    assert artifact.identity.encoder.heads == checkpoints.HEADS


@pytest.mark.parametrize("quick_gelu", [True, False])
def test_open_clips_own_file(quick_gelu, tmp_path):
    torch.manual_seed(0)
    vision = {"layers": 2, "width": 64, "head_width": 16, "patch_size": 16, "image_size": 48}
    text = {"context_length": 4, "vocab_size": 9, "width": 16, "heads": 2, "layers": 1}
    model = checkpoints.livened(open_clip.CLIP(8, vision, text, quick_gelu=quick_gelu))
    config = {"model_cfg": {"embed_dim": 8, "vision_cfg": vision, "text_cfg": text, "quick_gelu": quick_gelu}}
    source = checkpoints.write_folder(tmp_path / "clip", model.state_dict(), None)
    (source / "model.safetensors").rename(source / "open_clip_model.safetensors")
    (source / "open_clip_config.json").write_text(json.dumps(config))

    def features(pixels):
        model.visual.proj = None
        return model.visual(pixels)

    artifact = compare(checkpoints.Original({}, features, 48), source, tmp_path / "run")
    assert artifact.identity.activation == ("quick_gelu" if quick_gelu else "gelu")
    assert artifact.identity.encoder.heads == 4


def test_timms_perception_encoder_without_a_configuration_of_heads_is_refused(tmp_path):
    source = checkpoints.write_folder(tmp_path / "pe", checkpoints.pe().tensors, None)
    with pytest.raises(ArtifactError, match=r"PE-2x64-p16 is none of .* how many attention heads"):
        import_run(str(source / "model.safetensors"), tmp_path / "run")


def test_timms_perception_encoder(tmp_path):
    network = checkpoints.pe()
    tensors = network.tensors | {"head.weight": torch.zeros(8, 64), "head.bias": torch.zeros(8)}
    source = checkpoints.write_folder(
        tmp_path / "pe", tensors, {"architecture": "vit_pe_core_tiny", "num_attention_heads": 4}
    )
    artifact = compare(network, source / "model.safetensors", tmp_path / "run")
    assert artifact.identity.encoder.position_px == 64


@pytest.mark.parametrize("prefix", ["", "model."])
def test_hugging_faces_dinov3_by_either_name(prefix, tmp_path):
    network = checkpoints.dinov3()
    tensors = {(prefix if name.startswith("layer.") else "") + name: t for name, t in network.tensors.items()}
    config = {"model_type": "dinov3_vit", "num_attention_heads": 4, "hidden_act": "gelu", "rope_theta": 100.0}
    compare(network, checkpoints.write_folder(tmp_path / "dino", tensors, config), tmp_path / "run")


@pytest.mark.parametrize("name", ["vit_base_patch16_dinov3", "vit_base_patch16_dinov3_qkvb"])
def test_timms_dinov3_with_and_without_biases(name, tmp_path):
    network = checkpoints.timm_dinov3(name)
    config = {"architecture": name, "num_attention_heads": 4}
    source = checkpoints.write_folder(tmp_path / "dino", network.tensors, config)
    compare(network, source, tmp_path / "run")


def test_the_fresh_head_says_so(tmp_path, caplog):
    _, network = checkpoints.clip()
    config = {"model_type": "clip_vision_model", "num_attention_heads": 4}
    source = checkpoints.write_folder(tmp_path / "clip", network.tensors, config)
    with caplog.at_level(logging.WARNING):
        first = import_run(str(source), tmp_path / "first")
    second = import_run(str(source), tmp_path / "second")
    assert "mean nothing before fit" in caplog.text
    assert first.provenance.threshold_source.startswith("head untrained")
    assert first.identity == second.identity, "the same source gives the same weights"
    _, encoder = load_run(tmp_path / "first")
    assert 0 < encoder.head.weight.abs().max() <= 1 / 8, "PyTorch's default: uniform in 1 / sqrt(D)"


def test_an_encoder_of_known_shape_gets_its_name(tmp_path):
    """No configuration but the activation: the shapes say the rest."""
    identity = Identity(weights_sha256="0" * 64, encoder=DEMO, activation="gelu", spec=DEMO.spec)
    tower = build_encoder(identity).visual
    tensors = {f"visual.{name}": tensor for name, tensor in tower.state_dict().items()}
    source = checkpoints.write_folder(tmp_path / "clip", tensors, {"hidden_act": "gelu"})
    artifact = import_run(str(source), tmp_path / "run")
    assert (artifact.identity.encoder, artifact.identity.spec) == (DEMO, DEMO.spec)
    assert artifact.identity.activation == "gelu"


def test_two_encoders_in_one_file_are_refused(tmp_path):
    tensors = checkpoints.clip()[1].tensors | checkpoints.dinov3().tensors
    source = checkpoints.write_folder(tmp_path / "both", tensors, {})
    with pytest.raises(ArtifactError, match="several encoders: Hugging Face CLIP and Hugging Face DINOv3"):
        import_run(str(source), tmp_path / "run")


def test_an_unknown_network_is_refused_by_its_names(tmp_path):
    source = checkpoints.write_folder(tmp_path / "resnet", {"layer1.0.conv1.weight": torch.zeros(1)}, {})
    with pytest.raises(ArtifactError, match=r"layer1.0.conv1.weight.*none of the known layouts"):
        import_run(str(source), tmp_path / "run")


def test_a_run_is_no_source(random_run, tmp_path):
    with pytest.raises(ConfigError, match="is a run already"):
        import_run(str(random_run), tmp_path / "run")


def test_an_open_clip_tower_that_pools_otherwise_is_refused(tmp_path):
    """Its tensors would fit."""
    tensors = {"visual.conv1.weight": torch.zeros(64, 3, 16, 16)}
    config = {"model_cfg": {"vision_cfg": {"width": 64, "layers": 2, "patch_size": 16, "pool_type": "avg"}}}
    source = checkpoints.write_folder(tmp_path / "clip", tensors, config)
    with pytest.raises(ArtifactError, match="vision_cfg has pool_type"):
        import_run(str(source), tmp_path / "run")


def test_training_starts_from_an_imported_encoder(small_index, tmp_path):
    """Head-only tuning leaves every imported tensor as it was."""
    identity = Identity(weights_sha256="0" * 64, encoder=DEMO, activation="quick_gelu", spec=DEMO.spec)
    tensors = {f"visual.{name}": tensor for name, tensor in build_encoder(identity).visual.state_dict().items()}
    source = checkpoints.write_folder(tmp_path / "clip", tensors, {"hidden_act": "quick_gelu"})
    import_run(str(source), tmp_path / "start")
    settings = {"train_index": small_index, "init": str(tmp_path / "start"), "tune": "head", "epochs": 1}
    fit(TrainConfig.model_validate(settings | {"batch_size": 8, "warmup_epochs": 0}), tmp_path / "run")
    (_, before), (_, after) = load_run(tmp_path / "start"), load_run(tmp_path / "run")
    assert all(torch.equal(tensor, tensors[f"visual.{name}"]) for name, tensor in after.visual.state_dict().items())
    assert not torch.equal(before.head.weight, after.head.weight)
