"""The cascade on photographs, against the package whose weights it has, and on what is no picture."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import skimage.data

from lnclip import mtcnn as cascade
from lnclip.detection import DETECTORS, PADDING, Candidates, letterbox
from lnclip.mtcnn import Mtcnn

ROOT = Path(__file__).parents[2]
SERVING_PYTHON = ROOT / ".venv-triton" / "bin" / "python"

FACES = {"astronaut": (181, 62, 268, 172), "grace_hopper": (174, 120, 356, 340)}
"""Boxes measured with facenet-pytorch, pixels of the photographs (which fit the letterbox as they are)."""


def likely(found: Candidates) -> int:
    return int((found.scores[0] >= DETECTORS[Mtcnn.detector_id].threshold).sum())


@pytest.mark.parametrize("name", FACES)
def test_finds_the_face(name: str, mtcnn: Mtcnn, request: pytest.FixtureRequest) -> None:
    found = mtcnn.detect(letterbox(request.getfixturevalue(name))[None])
    assert likely(found) == 1
    np.testing.assert_allclose(found.boxes[0, 0], FACES[name], atol=10)


@pytest.mark.parametrize("name", ["coffee", "chelsea", "rocket"])
def test_finds_nothing_where_no_face_is(name: str, mtcnn: Mtcnn) -> None:
    assert likely(mtcnn.detect(letterbox(getattr(skimage.data, name)())[None])) == 0


@pytest.mark.parametrize("name", FACES)
def test_landmarks_are_eyes_nose_mouth_from_left_to_right(
    name: str, mtcnn: Mtcnn, request: pytest.FixtureRequest
) -> None:
    found = mtcnn.detect(letterbox(request.getfixturevalue(name))[None])
    points, box = found.landmarks[0, 0].reshape(5, 2), found.boxes[0, 0]
    assert ((points > box[:2]) & (points < box[2:])).all()
    (left_eye, right_eye, nose, left_mouth, right_mouth) = points
    assert left_eye[0] < nose[0] < right_eye[0]
    assert left_mouth[0] < nose[0] < right_mouth[0]
    assert max(left_eye[1], right_eye[1]) < nose[1] < min(left_mouth[1], right_mouth[1])


@pytest.mark.parametrize("name", [*FACES, "camera"])
def test_agrees_with_facenet_pytorch(name: str, mtcnn: Mtcnn, request: pytest.FixtureRequest) -> None:
    """The package's own cascade: torch, another resize, another suppression."""
    package = pytest.importorskip("facenet_pytorch")
    is_camera = name == "camera"
    picture = np.dstack([skimage.data.camera()] * 3) if is_camera else request.getfixturevalue(name)
    boxes, scores, points = package.MTCNN(min_face_size=20, keep_all=True).detect(picture, landmarks=True)
    found = mtcnn.detect(letterbox(picture)[None])
    count = len(boxes)
    np.testing.assert_allclose(found.scores[0, :count], scores.astype(float), atol=1e-4)
    np.testing.assert_allclose(found.boxes[0, :count], boxes.astype(float), atol=0.05)
    np.testing.assert_allclose(found.landmarks[0, :count].reshape(-1, 5, 2), points.astype(float), atol=0.05)
    assert not found.scores[0, count:].any()


def test_a_batch_is_its_pictures_one_by_one(mtcnn: Mtcnn, astronaut: np.ndarray, grace_hopper: np.ndarray) -> None:
    letterboxes = np.stack([letterbox(frame) for frame in (astronaut, skimage.data.coffee(), grace_hopper)])
    together, alone = mtcnn.detect(letterboxes), [mtcnn.detect(one[None]) for one in letterboxes]
    for field, parts in zip(together, zip(*alone, strict=True), strict=True):
        np.testing.assert_array_equal(field, np.concatenate(parts))


@pytest.mark.parametrize(
    "letterboxes",
    [
        pytest.param(np.broadcast_to(np.array(PADDING, np.uint8), (2, 640, 640, 3)), id="padding alone"),
        pytest.param(np.zeros((1, 640, 640, 3), np.uint8), id="black"),
        pytest.param(np.random.default_rng(0).integers(0, 256, (1, 640, 640, 3), np.uint8), id="noise"),
        pytest.param(letterbox(np.zeros((1, 1, 3), np.uint8))[None], id="one pixel"),
        pytest.param(letterbox(np.zeros((2, 8000, 3), np.uint8))[None], id="a line"),
    ],
)
def test_no_face_is_zero_rows_of_the_served_shape(letterboxes: np.ndarray, mtcnn: Mtcnn) -> None:
    found = mtcnn.detect(letterboxes)
    batch = len(letterboxes)
    assert [values.shape for values in found] == [(batch, 256, 4), (batch, 256), (batch, 256, 10)]
    assert all(values.dtype == np.float32 and not values.any() for values in found)


def test_the_letterbox_is_searched_no_further_than_the_picture_goes(astronaut: np.ndarray) -> None:
    np.testing.assert_array_equal(cascade.without_padding(letterbox(astronaut[:300])), astronaut[:300])


def test_the_number_of_boxes_looked_at_is_bounded(
    mtcnn: Mtcnn, astronaut: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A picture of a thousand faces would otherwise hold up every other."""
    monkeypatch.setattr(cascade, "MAX_PROPOSALS", 7)
    assert len(cascade.propose(mtcnn._pnet, cascade.Picture(astronaut)).boxes) == 7


def test_shrinking_is_torch_adaptive_average_pooling(astronaut: np.ndarray) -> None:
    import torch

    shrunk = cascade.Picture(astronaut).shrunk((10, 20, 210, 87), 24, 48)
    part = torch.from_numpy(astronaut[20:87, 10:210].copy()).permute(2, 0, 1).float()
    pooled = torch.nn.functional.adaptive_avg_pool2d(part, (48, 24))
    np.testing.assert_allclose(shrunk, pooled.permute(1, 2, 0).numpy(), atol=1e-3)


@pytest.mark.skipif(not SERVING_PYTHON.exists(), reason="needs the serving environment: make setup")
def test_the_serving_environment_answers_the_same(
    mtcnn: Mtcnn, detector_folder: Path, astronaut: np.ndarray, tmp_path: Path
) -> None:
    letterboxes = letterbox(astronaut)[None]
    np.save(tmp_path / "in.npy", letterboxes)
    script = (
        "import sys, pathlib, numpy as np; from lnclip.mtcnn import Mtcnn; folder = pathlib.Path(sys.argv[2]);"
        "assert np.__version__.startswith('1.');"
        "np.savez(folder / 'out.npz', **Mtcnn(pathlib.Path(sys.argv[1])).detect(np.load(folder / 'in.npy'))._asdict())"
    )
    command = [SERVING_PYTHON, "-c", script, detector_folder, tmp_path]
    subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    answer = np.load(tmp_path / "out.npz")
    for name, values in mtcnn.detect(letterboxes)._asdict().items():
        np.testing.assert_allclose(answer[name], values, atol=1e-3, err_msg=name)
