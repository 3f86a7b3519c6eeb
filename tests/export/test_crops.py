"""The index of crops for parity: read strictly, complaints name the row."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from export.crops import NUM_CALIBRATION, demo_crops, read_crops
from lnclip.errors import ConfigError
from lnclip.preprocess import fit_input
from lnclip.spec import PreprocessSpec


@pytest.fixture
def spec() -> PreprocessSpec:
    return PreprocessSpec(input_px=32)


def write_index(folder: Path, text: str) -> Path:
    (folder / "index.csv").write_text(text)
    return folder / "index.csv"


def test_crops_are_fitted_labelled_and_followed_by_adversarial_ones(tmp_path: Path, spec: PreprocessSpec) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (70, 70, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    found = read_crops(write_index(tmp_path, "path,label,video,dataset,source\na.png,fake,v,d,s\n"), spec)
    assert found.names == ["a.png", *(f"adversarial/{name}" for name in ("black", "white", "noise", "saturated"))]
    assert found.labels == ["fake", None, None, None, None]
    np.testing.assert_array_equal(found.crops[0], fit_input(pixels, spec))
    assert found.crops[1].max() == 0
    assert found.crops[2].min() == 255
    assert set(np.unique(found.crops[4])) == {0, 255}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "with the columns path,label"),
        ("path,label\n", "at least one row"),
        ("file,label\na.png,fake\n", "with the columns path,label"),
        ("path,label\na.png,forged\n", "label of a.png is 'forged'"),
        ("path,label,kind\na.mp4,fake,video\n", "a.mp4 is a video"),
        ("path,label\nnone.png,fake\n", "none.png cannot be read"),
        ("path,label\nindex.csv,fake\n", "index.csv cannot be read"),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path: Path, spec: PreprocessSpec, text: str, complaint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_crops(write_index(tmp_path, text), spec)
    assert complaint in str(caught.value)


def test_calibration_leaves_the_extremes_out_and_takes_evenly(tmp_path: Path, spec: PreprocessSpec) -> None:
    rows = ["path,label"]
    for number in range(NUM_CALIBRATION + 100):
        Image.new("L", (32, 32), number % 256).convert("RGB").save(tmp_path / f"{number}.png")
        rows.append(f"{number}.png,real")
    crops = read_crops(write_index(tmp_path, "\n".join(rows) + "\n"), spec)
    chosen = crops.calibration()
    assert len(chosen) == NUM_CALIBRATION
    np.testing.assert_array_equal(chosen[[0, -1]], crops.crops[[0, NUM_CALIBRATION + 99]])
    assert len(demo_crops(spec).calibration()) == 64


def test_the_demos_faces_lie_where_the_spec_puts_them() -> None:
    """Eyes are darker than the cheeks below them: template (0.34, 0.46) of a 224 px crop, shrunk by 1.3."""
    faces = demo_crops(PreprocessSpec()).crops[:48].mean(axis=(0, 3))
    for eye_x in (84, 140):
        eye, cheek = (faces[y - 6 : y + 6, eye_x - 10 : eye_x + 10].mean() for y in (105, 133))
        assert eye < cheek - 10
