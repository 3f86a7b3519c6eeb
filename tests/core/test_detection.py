import numpy as np
import pytest
import torch
from torchvision.ops import nms as torchvision_nms

from lnclip.detection import PADDING, Candidates, FaceChoice, choose_faces, letterbox, nms, pad_candidates

ANY = FaceChoice(max_faces=8, min_face_px=0, threshold=0.5)


def candidates(*rows: tuple[float, ...]) -> Candidates:
    """From (x1, y1, x2, y2, score) rows; landmarks run along the box's diagonal."""
    values = np.array(rows, np.float32).reshape(-1, 5)
    steps = np.linspace(0, 1, 5)[None, :, None]
    landmarks = values[:, None, :2] + steps * (values[:, None, 2:4] - values[:, None, :2])
    return pad_candidates(values[:, :4], values[:, 4], landmarks.astype(np.float32))


def test_letterbox_shrinks_to_the_top_left_and_pads_in_the_mean_colour():
    square = letterbox(np.full((300, 1280, 3), 9, np.uint8))
    assert square.shape == (640, 640, 3)
    assert (square[:150] == 9).all()
    assert (square[150:] == PADDING).all()


def test_letterbox_never_enlarges():
    picture = np.random.default_rng(0).integers(0, 256, (100, 50, 3), dtype=np.uint8)
    np.testing.assert_array_equal(letterbox(picture)[:100, :50], picture)


def test_letterbox_averages_rather_than_aliases():
    stripes = np.zeros((1280, 1280, 3), np.uint8)
    stripes[::2] = 200
    assert np.abs(letterbox(stripes).astype(int) - 100).max() <= 1


def test_nms_keeps_what_torchvision_keeps():
    rng = np.random.default_rng(0)
    for _ in range(20):
        corners = rng.uniform(0, 100, (60, 2))
        boxes = np.hstack([corners, corners + rng.uniform(5, 60, (60, 2))]).astype(np.float32)
        scores = rng.permutation(60).astype(np.float32)
        expected = torchvision_nms(torch.from_numpy(boxes), torch.from_numpy(scores), 0.4)
        assert nms(boxes, scores).tolist() == expected.tolist()


def test_nms_of_nothing_is_nothing():
    assert nms(np.zeros((0, 4), np.float32), np.zeros(0, np.float32)).tolist() == []


def test_pad_candidates_sorts_cuts_and_fills():
    many = candidates(*((0, 0, 9, 9, index / 300) for index in range(300)))
    assert many.scores.shape == (1, 256)
    assert many.scores[0, 0] == np.float32(299 / 300)
    assert (np.diff(many.scores[0]) <= 0).all()
    few = candidates((1, 2, 3, 4, 0.9))
    assert few.boxes[0, 0].tolist() == [1, 2, 3, 4]
    assert (few.boxes[0, 1:] == 0).all()
    assert few.landmarks.shape == (1, 256, 10)


def test_faces_come_back_in_frame_pixels():
    # 1280 x 300 shrinks to 640 x 150: both factors are 2.
    faces = choose_faces(candidates((10, 20, 50, 70, 0.9)), (1280, 300), ANY)
    np.testing.assert_allclose(faces.boxes, [[20, 40, 100, 140]])
    np.testing.assert_allclose(faces.landmarks[0, [0, 4]], [[20, 40], [100, 140]])


def test_the_two_axes_have_their_own_scale():
    # 1000 x 333 at 0.64 would be 213.12 rows and has 213: y grows by 333 / 213.
    faces = choose_faces(candidates((0, 0, 640, 213, 0.9)), (1000, 333), ANY)
    np.testing.assert_allclose(faces.boxes, [[0, 0, 1000, 333]], rtol=1e-6)


def test_faces_are_largest_first_and_capped():
    found = candidates((0, 0, 40, 40, 0.99), (100, 0, 200, 100, 0.8), (300, 0, 360, 60, 0.9))
    faces = choose_faces(found, (640, 640), ANY._replace(max_faces=2))
    assert faces.boxes[:, 0].tolist() == [100, 300]
    np.testing.assert_allclose(faces.scores, [0.8, 0.9])


def test_small_unlikely_and_overlapping_candidates_are_dropped():
    found = candidates((0, 0, 40, 31, 0.99), (100, 0, 200, 100, 0.49), (300, 0, 400, 100, 0.9), (305, 0, 405, 100, 0.8))
    faces = choose_faces(found, (640, 640), ANY._replace(min_face_px=32))
    assert faces.boxes.tolist() == [[300, 0, 400, 100]]


def test_boxes_stay_inside_the_frame():
    faces = choose_faces(candidates((-10, -5, 90, 200, 0.9)), (80, 100), ANY)
    assert faces.boxes.tolist() == [[0, 0, 80, 100]]


@pytest.mark.parametrize("threshold", [0.0, 0.5])
def test_unused_rows_are_never_faces(threshold):
    assert len(choose_faces(candidates(), (640, 640), ANY._replace(threshold=threshold)).scores) == 0
