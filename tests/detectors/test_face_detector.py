"""The detector's model folder: written whole, loaded only if whole."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from export.face_detector import install_mtcnn
from lnclip.detectors import DetectorCard, load_detector
from lnclip.errors import ArtifactError
from lnclip.mtcnn import Mtcnn

MTCNN_FILES = {"pnet.onnx", "rnet.onnx", "onet.onnx"}


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory, detector_folder: Path) -> Path:
    """Once served RetinaFace, now MTCNN (whose graphs are written once a session)."""

    def write(folder: Path) -> list[str]:
        return [shutil.copy(path, folder) and path.name for path in sorted(detector_folder.glob("*.onnx"))]

    repository = tmp_path_factory.mktemp("repository")
    folder = repository / "face_detector" / "1"
    folder.mkdir(parents=True)
    (folder.parent / "config.pbtxt").write_text("theirs")
    for name in ("model.py", "model.onnx", "detector.json"):
        (folder / name).write_text("old")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("export.mtcnn_export.write_mtcnn", write)
        install_mtcnn(repository)
    return repository


@pytest.fixture
def folder(repository: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    copy = tmp_path / "1"
    copy.mkdir()
    for path in (repository / "face_detector" / "1").iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    return copy


def test_the_folder_holds_the_new_detector_alone(repository: Path) -> None:
    names = {path.name for path in (repository / "face_detector" / "1").iterdir()}
    assert names == {*MTCNN_FILES, "detector.json", "model.py"}
    assert [path.name for path in repository.iterdir()] == ["face_detector"]


def test_adapter_and_config_stay(repository: Path) -> None:
    assert (repository / "face_detector" / "1" / "model.py").read_text() == "old"
    assert (repository / "face_detector" / "config.pbtxt").read_text() == "theirs"


def test_the_card_says_where_the_weights_are_from(folder: Path) -> None:
    card = DetectorCard.load(folder)
    assert (card.name, card.version) == ("mtcnn", "facenet-pytorch 2.6.0")
    assert card.weights_sha256["pnet.pt"] == "a2a71925e0b9996a42f63e47efc1ca19043e69558b5c523b978d611dfae49c8f"
    assert set(card.files) == MTCNN_FILES


def test_loads_what_was_written(folder: Path) -> None:
    detector = load_detector(folder)
    assert isinstance(detector, Mtcnn)
    assert detector.detector_id == 0


def test_refuses_a_folder_without_a_detector(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="holds no face detector: python -m export face-detector"):
        load_detector(tmp_path)


def test_refuses_a_graph_of_another_detector(folder: Path) -> None:
    (folder / "onet.onnx").write_bytes((folder / "rnet.onnx").read_bytes())
    with pytest.raises(ArtifactError, match=r"onet\.onnx is not the file that detector\.json describes"):
        load_detector(folder)


def test_refuses_a_folder_with_a_graph_missing(folder: Path) -> None:
    (folder / "onet.onnx").unlink()
    with pytest.raises(ArtifactError, match=r"onet\.onnx cannot be read: No such file"):
        load_detector(folder)


def test_refuses_a_card_it_does_not_know(folder: Path) -> None:
    (folder / "detector.json").write_text('{"name": "yunet"}')
    with pytest.raises(ArtifactError, match=r"is not a detector\.json of this version"):
        load_detector(folder)


def test_a_damaged_graph_is_an_error_by_name(folder: Path) -> None:
    (folder / "pnet.onnx").write_bytes(b"not a graph")
    with pytest.raises(ArtifactError, match=r"pnet\.onnx cannot be loaded"):
        Mtcnn(folder)
