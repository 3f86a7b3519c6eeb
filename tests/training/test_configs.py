"""The committed configurations: they load, and each says what it is for, what it takes and what to expect."""

import re

import numpy as np
import pytest

from lnclip.architecture import KNOWN
from lnclip.geometry import target_landmarks
from tests.conftest import ROOT
from training.config_file import read_config

FOLDER = ROOT / "training/configs"
CONFIGS = sorted(path for path in FOLDER.rglob("*.toml") if path.name != "benchmarks.toml")


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_config_loads_and_its_header_has_the_command(path):
    read_config(path)
    header = "".join(line for line in path.read_text().splitlines(keepends=True) if line.startswith("#"))
    assert f"--config {path.relative_to(ROOT)} --out runs/" in header
    assert "Expect:" in header
    assert re.search(r"Time:|About \d+", header)


def test_there_are_recipes_of_both_papers_and_five_ablations():
    assert {"ff_lnclip_df", "ff_dfd_clip", "smoke", "demo"} <= {path.stem for path in CONFIGS}
    assert len(list((FOLDER / "ablations").glob("*.toml"))) == 5


def test_the_final_recipe_is_the_second_papers():
    config = read_config(FOLDER / "ff_lnclip_df.toml")
    # reference: AdamW without decay, 3e-4 to 1e-5, one epoch of warm-up, restarts every ten, CE + 0.1 A + 0.5 U.
    assert (config.learning_rate, config.final_learning_rate, config.weight_decay) == (3e-4, 1e-5, 0)
    assert (config.warmup_epochs, config.restart_epochs, config.epochs, config.batch_size) == (1, 10, 30, 128)
    assert (config.alignment_weight, config.uniformity_weight, config.label_smoothing) == (0.1, 0.5, 0)
    chosen = (config.tune, config.head, config.encoder, config.slerp.mode)
    assert chosen == ("layernorm", "normalised", "ViT-L-14", "off")
    assert config.spec == KNOWN["ViT-L-14"].spec
    augmentation = config.augmentation
    assert (augmentation.blur, augmentation.blur_kernel, augmentation.jpeg_quality) == (0.1, (7, 7), (40, 100))


def test_the_first_papers_recipe_reads_deepfakebenchs_crops():
    config = read_config(FOLDER / "ff_dfd_clip.toml")
    assert (config.spec.crop_px, config.spec.estimator, config.spec.crop_scale) == (256, "least_squares", 1.3)
    assert (config.augmentation.blur, config.augmentation.blur_kernel) == (1, (3, 7))
    # By hand from the 112 px template: ((30.2946 + 8) / 112 + 0.15) / 1.3 = 0.3784, and so on.
    expected = np.array([(0.3784, 0.4704), (0.6204, 0.4691), (0.5002, 0.6081), (0.4008, 0.7498), (0.6012, 0.7487)])
    assert target_landmarks(config.spec, 256) / 256 == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    ("name", "side", "resize", "mean"),
    [
        ("ViT-L-14", 224, "pil_bicubic", 0.48145466),
        ("ViT-L-14-336", 336, "pil_bicubic", 0.48145466),
        ("PE-Core-L-14", 224, "pil_bicubic", 0.5),
        ("DINOv3-L-16", 224, "antialiased_bilinear", 0.485),
    ],
)
def test_preprocessing_and_activation_follow_from_the_encoder(name, side, resize, mean):
    config = read_config(FOLDER / "ff_lnclip_df.toml", [f"encoder={name}"])
    assert (config.spec.input_px, config.spec.resize, config.spec.mean[0]) == (side, resize, mean)
    assert config.activation == ("quick_gelu" if name.startswith("ViT") else "gelu")
    assert read_config(FOLDER / "ff_lnclip_df.toml", [f"encoder={name}", "spec.crop_px=256"]).spec.mean[0] == mean
