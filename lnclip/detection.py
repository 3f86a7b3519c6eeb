"""From a frame to the detector and back: letterbox, candidates, suppression, choice of faces.

Detectors answer a fixed number of rows in letterbox pixels, so that they batch; what they mean
in the frame, and which of them are faces worth scoring, is decided here and nowhere else.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from lnclip.contract import LETTERBOX_PX, MAX_CANDIDATES

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]

PADDING = (124, 116, 104)
"""ImageNet's mean colour, RGB: nothing, for a network that subtracts it."""

NMS_IOU = 0.4
"""Two boxes that overlap more are one face. Source: retinaface-pytorch and GenD."""


class DetectorInfo(NamedTuple):
    """What a ``detector_id`` stands for."""

    name: Literal["mtcnn", "retinaface"]
    threshold: float
    """Default lowest score of a face. Source: 0.9 keeps every face of our photographs and none
    of the face-free ones; 0.7 is retinaface-pytorch's default."""


DETECTORS = {0: DetectorInfo("mtcnn", 0.9), 1: DetectorInfo("retinaface", 0.7)}


class Candidates(NamedTuple):
    """A detector's answer for B letterboxes; rows best first, unused rows 0."""

    boxes: Floats
    """(B, 256, 4) x1, y1, x2, y2 in letterbox pixels."""

    scores: Floats
    """(B, 256)."""

    landmarks: Floats
    """(B, 256, 10), five x, y pairs in the order of ``PreprocessSpec.template``."""


class FaceChoice(NamedTuple):
    """Which candidates are faces worth scoring."""

    max_faces: int
    min_face_px: float
    """Shortest side of the smallest face, frame pixels."""

    threshold: float


class Detections(NamedTuple):
    """N faces in frame pixels, largest first."""

    boxes: Floats
    """(N, 4) x1, y1, x2, y2, inside the frame."""

    landmarks: Floats
    """(N, 5, 2)."""

    scores: Floats
    """(N,)."""


def letterbox_scale(width: int, height: int) -> float:
    """Letterbox pixels per frame pixel: at most 1, for enlarging shows a detector nothing new."""
    return min(1.0, LETTERBOX_PX / max(width, height))


def letterbox(frame_HWC: Pixels) -> Pixels:
    """Fit a frame into the top-left of a 640 x 640 square, the rest in the mean colour.

    Args:
        frame_HWC: RGB.

    Returns:
        (640, 640, 3); area-averaged, so that small faces do not alias away.
    """
    height, width = frame_HWC.shape[:2]
    scale = letterbox_scale(width, height)
    columns, rows = max(1, round(width * scale)), max(1, round(height * scale))
    shrunk = frame_HWC if scale == 1 else cv2.resize(frame_HWC, (columns, rows), interpolation=cv2.INTER_AREA)
    below, beside = LETTERBOX_PX - rows, LETTERBOX_PX - columns
    return np.asarray(cv2.copyMakeBorder(shrunk, 0, below, 0, beside, cv2.BORDER_CONSTANT, value=PADDING), np.uint8)


def pad_candidates(boxes: Floats, scores: Floats, landmarks: Floats) -> Candidates:
    """One image's findings as the fixed rows of the contract (B = 1), best first, the worst cut off.

    Args:
        boxes: (N, 4) letterbox pixels.
        scores: (N,).
        landmarks: (N, 5, 2) letterbox pixels.
    """
    best = np.argsort(-scores, kind="stable")[:MAX_CANDIDATES]
    padding = MAX_CANDIDATES - len(best)

    def rows(values: Floats, width: int) -> Floats:
        return np.pad(values[best].reshape(-1, width), ((0, padding), (0, 0))).astype(np.float32)[None]

    return Candidates(rows(boxes, 4), rows(scores, 1)[..., 0], rows(landmarks, 10))


def nms(boxes: Floats, scores: Floats, iou: float = NMS_IOU) -> NDArray[np.intp]:
    """Greedy non-maximum suppression; boxes are continuous (no "+1 pixel").

    Args:
        boxes: (N, 4) x1, y1, x2, y2.
        scores: (N,).
        iou: a box that overlaps a better one by more than this goes.

    Returns:
        Indices of the kept boxes, best first.
    """
    order = np.argsort(-scores, kind="stable")
    corners = boxes[order].astype(np.float64)
    areas = np.prod(np.clip(corners[:, 2:] - corners[:, :2], 0, None), axis=1)
    low = np.maximum(corners[:, None, :2], corners[None, :, :2])
    high = np.minimum(corners[:, None, 2:], corners[None, :, 2:])
    shared = np.prod(np.clip(high - low, 0, None), axis=2)
    overlap = shared / np.maximum(areas[:, None] + areas[None] - shared, 1e-9)
    kept = np.ones(len(order), bool)
    for index in range(len(order)):
        if kept[index]:
            kept[index + 1 :] &= overlap[index, index + 1 :] <= iou
    return order[kept]


def choose_faces(candidates: Candidates, frame_size: tuple[int, int], choice: FaceChoice) -> Detections:
    """The faces of one image: threshold, suppression, back to frame pixels, size, largest first.

    Args:
        candidates: of one letterbox (B = 1).
        frame_size: width, height.
        choice: limits.
    """
    width, height = frame_size
    likely = (candidates.scores[0] >= choice.threshold) & (candidates.scores[0] > 0)
    boxes, scores = candidates.boxes[0][likely], candidates.scores[0][likely]
    landmarks = candidates.landmarks[0][likely]
    kept = nms(boxes, scores)

    scale = letterbox_scale(width, height)
    # The letterbox has whole pixels, so its two axes differ a little in scale.
    factors = np.array([width / max(1, round(width * scale)), height / max(1, round(height * scale))], np.float32)
    boxes = np.clip(boxes[kept].reshape(-1, 2, 2) * factors, 0, (width, height)).reshape(-1, 4).astype(np.float32)
    sides = boxes[:, 2:] - boxes[:, :2]
    large = sides.min(axis=1, initial=np.inf) >= choice.min_face_px
    order = np.flatnonzero(large)[np.argsort(-sides[large].prod(axis=1), kind="stable")][: choice.max_faces]
    return Detections(boxes[order], landmarks[kept][order].reshape(-1, 5, 2) * factors, scores[kept][order])
