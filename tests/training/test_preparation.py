import csv
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from PIL import Image

from lnclip.detection import DETECTORS, FaceChoice, choose_faces, letterbox
from lnclip.detectors import load_detector
from lnclip.errors import ArtifactError, ConfigError
from lnclip.intake import read_image
from lnclip.preprocess import align
from lnclip.spec import PreprocessSpec
from training.index import Item, read_index, write_index
from training.preparation import gather, prepare


@pytest.fixture
def photos(tmp_path: Path, astronaut: np.ndarray, grace_hopper: np.ndarray) -> Path:
    """A folder of real life."""
    folder = tmp_path / "photos"
    (folder / "deep.jpg").mkdir(parents=True)
    Image.fromarray(astronaut).save(folder / "astronaut.png")
    Image.fromarray(grace_hopper).save(folder / "deep.jpg" / "grace.jpg")
    Image.fromarray(skimage.data.coffee()).save(folder / "coffee.webp")
    (folder / "cut.jpg").write_bytes((folder / "deep.jpg" / "grace.jpg").read_bytes()[:2000])
    (folder / "notes.txt").write_text("not an image")
    (folder / "loop").symlink_to(folder)
    return folder


def report_of(out: Path) -> dict[str, dict[str, str]]:
    with (out / "report.csv").open(newline="") as file:
        return {Path(row["path"]).name: row for row in csv.DictReader(file)}


def test_crops_are_what_the_server_would_cut(
    photos: Path, detector_folder: Path, tmp_path: Path, spec: PreprocessSpec
) -> None:
    prepare([photos], "real", tmp_path / "out", detector_folder)
    report, detector = report_of(tmp_path / "out"), load_detector(detector_folder)
    for path in (photos / "astronaut.png", photos / "deep.jpg" / "grace.jpg"):
        frame = read_image(path.read_bytes()).pixels
        choice = FaceChoice(8, 32, DETECTORS[0].threshold)
        faces = choose_faces(detector.detect(letterbox(frame)[None]), frame.shape[1::-1], choice)
        crop = np.asarray(Image.open(tmp_path / "out" / report[path.name]["crop"]))
        np.testing.assert_array_equal(crop, align(frame, faces.landmarks[0], spec))


def test_every_input_is_accounted_for(photos: Path, detector_folder: Path, tmp_path: Path) -> None:
    summary = prepare([photos], "real", tmp_path / "out", detector_folder)
    assert (summary.num_crops, summary.num_no_face, summary.num_errors) == (2, 1, 1)
    report = report_of(tmp_path / "out")
    assert {name: row["status"] for name, row in report.items()} == {
        "astronaut.png": "ok",
        "coffee.webp": "no_face",
        "cut.jpg": "error",
        "grace.jpg": "ok",
    }
    assert report["cut.jpg"]["code"] == "truncated"
    crops = read_index(summary.crops, "crop")
    assert [(item.label, item.dataset, item.video) for item in crops] == [
        ("real", "photos", "astronaut"),
        ("real", "photos", "deep.jpg/grace"),
    ]


def test_columns_of_an_index_are_carried_to_its_crops(photos: Path, detector_folder: Path, tmp_path: Path) -> None:
    item = Item(photos / "astronaut.png", "fake", "clip", "set", "swap", "7", "image")
    write_index(tmp_path / "images.csv", [item])
    summary = prepare([tmp_path / "images.csv"], None, tmp_path / "out", detector_folder)
    [crop] = read_index(summary.crops, "crop")
    assert crop == item._replace(path=crop.path, kind="crop")


def test_the_largest_face_is_cut(
    astronaut: np.ndarray, grace_hopper: np.ndarray, detector_folder: Path, tmp_path: Path
) -> None:
    Image.fromarray(np.hstack([astronaut, grace_hopper[:512]])).save(tmp_path / "group.png")
    prepare([tmp_path / "group.png"], "real", tmp_path / "out", detector_folder)
    row = report_of(tmp_path / "out")["group.png"]
    assert row["num_faces"] == "2"
    assert Image.open(tmp_path / "out" / row["crop"]).width > 250  # grace_hopper's face is the larger


def test_an_index_is_never_overwritten(photos: Path, detector_folder: Path, tmp_path: Path) -> None:
    prepare([photos / "astronaut.png"], "real", tmp_path / "out", detector_folder)
    with pytest.raises(ConfigError, match=r"index\.csv is there already"):
        prepare([photos / "astronaut.png"], "real", tmp_path / "out", detector_folder)


def test_inputs_that_cannot_work_are_named(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"photos: say what it holds with --label"):
        gather([photos], None)
    with pytest.raises(ConfigError, match=r"nowhere is not there"):
        gather([tmp_path / "nowhere"], "real")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match=r"empty holds no images; these endings are read: \.jpg"):
        gather([tmp_path / "empty"], "real")


def test_a_missing_detector_is_named_with_its_remedy(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"holds no face detector: python -m export face-detector"):
        prepare([photos], "real", tmp_path / "out", tmp_path / "nothing")


def test_a_file_that_vanishes_is_a_row(photos: Path, detector_folder: Path, tmp_path: Path) -> None:
    from training.preparation import cut_largest

    row = cut_largest(tmp_path / "gone.png", tmp_path, "crop.png", load_detector(detector_folder), PreprocessSpec())
    assert (row.status, row.code, row.reason) == ("error", "unreadable", "No such file or directory")
