from pathlib import Path

import numpy as np
import pytest
import skimage.data
from PIL import Image

from lnclip.detection import DETECTORS, FaceChoice, choose_faces, letterbox
from lnclip.detectors import load_detector
from lnclip.errors import ArtifactError, ConfigError
from lnclip.index import Item, read_index, read_media, write_index
from lnclip.intake import read_image
from lnclip.preprocess import align
from lnclip.spec import PreprocessSpec
from tests.clips import write_clip
from tests.training.data.reports import report_of
from training.data.inputs import gather
from training.data.preparation import prepare


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


def test_crops_are_what_the_server_would_cut(
    photos: Path, detector_folder: Path, tmp_path: Path, spec: PreprocessSpec
) -> None:
    prepare([photos], "real", tmp_path / "out", detector_folder)
    report, detector = report_of(tmp_path / "out"), load_detector(detector_folder)
    for path in (photos / "astronaut.png", photos / "deep.jpg" / "grace.jpg"):
        frame = read_image(path.read_bytes()).pixels
        choice = FaceChoice(8, 32, DETECTORS[0].threshold)
        faces = choose_faces(detector.detect(letterbox(frame)[None]), frame.shape[1::-1], choice)
        crop = np.asarray(Image.open(tmp_path / "out" / report[path.name]["crops"]))
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
    assert Image.open(tmp_path / "out" / row["crops"]).width > 250  # grace_hopper's face is the larger


def test_what_an_index_lists_and_is_not_there_is_a_row(photos: Path, detector_folder: Path, tmp_path: Path) -> None:
    items = [
        Item(photos / name, "real", "", "set", "photo", kind=kind)
        for name, kind in (("gone.png", "image"), ("gone.mp4", "video"), ("astronaut.png", "image"))
    ]
    write_index(tmp_path / "images.csv", items)
    summary = prepare([tmp_path / "images.csv"], None, tmp_path / "out", detector_folder)
    assert (summary.num_crops, summary.num_errors) == (1, 2)
    for name in ("gone.png", "gone.mp4"):
        row = report_of(tmp_path / "out")[name]
        assert (row["status"], row["code"], row["reason"]) == ("error", "unreadable", "No such file or directory")


def test_a_row_without_a_kind_is_what_the_file_holds(photos: Path, detector_folder: Path, tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", [np.zeros((64, 64, 3), np.uint8)])
    clip.rename(tmp_path / "clip.png")
    (tmp_path / "photo.mp4").write_bytes((photos / "astronaut.png").read_bytes())
    (tmp_path / "media.csv").write_text(
        "path,label,video,dataset,source\nclip.png,real,v,d,s\nphoto.mp4,real,v,d,s\nx.png,real,v,d,s\nx.mkv,real,v,d,s\n"
    )
    assert [item.kind for item in read_media(tmp_path / "media.csv")] == ["video", "image", "image", "video"]


def test_crops_are_no_input(tmp_path: Path) -> None:
    (tmp_path / "crops.csv").write_text("path,label,video,dataset,source,kind\na.png,real,v,d,s,crop\n")
    with pytest.raises(ConfigError, match=r"line 2 is of kind crop, this command needs image or video; say so"):
        gather([tmp_path / "crops.csv"], None)


def test_a_file_given_twice_is_cut_once(photos: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    found = gather([photos, photos / "astronaut.png"], "real")
    assert [one.item.path.name for one in found] == ["astronaut.png", "coffee.webp", "cut.jpg", "grace.jpg"]
    assert "1 files are given more than once" in caplog.text
    item = Item(photos / "astronaut.png", "fake", "", "", "", kind="image")
    write_index(photos / "fakes.csv", [item])
    with pytest.raises(ConfigError, match=r"astronaut\.png is given as real and as fake"):
        gather([photos, photos / "fakes.csv"], "real")


def test_files_of_one_name_are_clips_of_their_own(tmp_path: Path) -> None:
    for name in ("a/videos/000.mp4", "b/videos/000.mp4", "b/videos/000.avi"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = gather([tmp_path / "a" / "videos", tmp_path / "b" / "videos"], "real")
    assert found[0].item.video == "000"
    assert len({one.item.video for one in found}) == len({one.name for one in found}) == 3
    assert found == gather([tmp_path / "a" / "videos", tmp_path / "b" / "videos"], "real")


def test_files_in_a_folder_count_by_their_first_bytes_too(tmp_path: Path) -> None:
    for name, content in {
        "photo": b"\xff\xd8\xff\xe0",
        "film": b"\x00\x00\x00\x18ftypmp42",
        "matroska": b"\x1aE\xdf\xa3",
        "Bmore": b"BMore words than a header",
        "notes.txt": b"This is no picture",
        "empty.mov": b"",
    }.items():
        (tmp_path / name).write_bytes(content)
    found = {one.item.path.name: one.item.kind for one in gather([tmp_path], "fake")}
    assert found == {"photo": "image", "film": "video", "matroska": "video", "empty.mov": "video"}


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
    with pytest.raises(ConfigError, match=r"empty holds no images and no videos; these endings are read: \.jpg"):
        gather([tmp_path / "empty"], "real")


def test_a_missing_detector_is_named_with_its_remedy(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"holds no face detector: python -m export face-detector"):
        prepare([photos], "real", tmp_path / "out", tmp_path / "nothing")
