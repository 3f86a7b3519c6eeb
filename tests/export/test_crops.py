"""The index of crops for parity: read strictly, complaints name the row."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from export.crops import NUM_CALIBRATION, NUM_COMPARED, demo_crops, read_crops
from export.ranking import MIN_LABELLED
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


CHOSEN = (0, 1, 9, 17, 23, 31, 36, 39)
"""8 of 40 rows of which every fourth is real: the first and the last of 10 reals, and of the 30 fakes those at
0, 5.8, 11.6, 17.4, 23.2 and 29, rounded. By hand."""


@pytest.fixture
def large_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """40 rows where 8 are compared; no file but those of CHOSEN is there."""
    monkeypatch.setattr("export.crops.NUM_COMPARED", 8)
    for number in CHOSEN:
        Image.new("L", (32, 32), number).convert("RGB").save(tmp_path / f"{number}.png")
    rows = [f"{number}.png,{'fake' if number % 4 else 'real'}" for number in range(40)]
    return write_index(tmp_path, "\n".join(["path,label", *rows]) + "\n")


def test_of_a_large_index_rows_are_taken_evenly_and_the_other_files_are_not_opened(
    large_index: Path, spec: PreprocessSpec
) -> None:
    found = read_crops(large_index, spec)
    assert found.names[:8] == [f"{number}.png" for number in CHOSEN]
    assert found.labels[:8] == ["real", "fake", "fake", "fake", "fake", "fake", "real", "fake"]
    assert found.crops[:8].mean(axis=(1, 2, 3)).tolist() == list(CHOSEN)
    assert found.source == f"{large_index}: 8 of 40"


def test_an_index_that_is_not_larger_is_read_whole(
    large_index: Path, spec: PreprocessSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = large_index.read_text().splitlines()
    large_index.write_text("\n".join([lines[0], *(lines[1 + number] for number in CHOSEN)]) + "\n")
    found = read_crops(large_index, spec)
    assert (len(found.names), found.source) == (8 + 4, str(large_index))
    monkeypatch.setattr("export.crops.NUM_COMPARED", 2)
    assert read_crops(large_index, spec).names[:2] == ["0.png", "1.png"]


def test_a_label_of_a_few_rows_is_never_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("export.crops.NUM_COMPARED", 4)
    Image.new("RGB", (32, 32)).save(tmp_path / "a.png")
    for rare, common in (("real", "fake"), ("fake", "real")):
        rows = ["path,label", f"a.png,{rare}", *[f"a.png,{common}"] * 99]
        labels = read_crops(write_index(tmp_path, "\n".join(rows) + "\n"), PreprocessSpec(input_px=32)).labels
        assert labels[:4] == [rare, common, common, common]


def test_an_index_of_one_label_is_read_evenly_too(large_index: Path, spec: PreprocessSpec) -> None:
    rows = [f"{CHOSEN[number % 8]}.png,real" for number in range(16)]
    large_index.write_text("\n".join(["path,label", *rows]) + "\n")
    found = read_crops(large_index, spec)
    assert found.labels[:8] == ["real"] * 8
    # Of rows 0 to 15 those at 0, 2.1, 4.3, 6.4, 8.6, 10.7, 12.9 and 15.
    assert found.names[:8] == [f"{CHOSEN[row % 8]}.png" for row in (0, 2, 4, 6, 9, 11, 13, 15)]


def test_a_row_that_is_not_chosen_must_be_a_labelled_crop_too(large_index: Path, spec: PreprocessSpec) -> None:
    large_index.write_text(large_index.read_text().replace("30.png,fake", "30.png,forged"))
    with pytest.raises(ConfigError, match=r"label of 30\.png is 'forged'"):
        read_crops(large_index, spec)


def test_so_many_are_compared_that_the_auroc_is_judged() -> None:
    assert NUM_COMPARED >= MIN_LABELLED


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
