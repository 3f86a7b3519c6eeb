"""MTCNN on the CPU: three small networks in a cascade, by ONNX Runtime, numpy and OpenCV alone.

The networks' files come from ``python -m export face-detector mtcnn``. Its boxes are counted from
1 and include both ends, as in the authors' Matlab code on which the networks were trained.
Source: Zhang et al., "Joint Face Detection and Alignment Using Multitask Cascaded Convolutional
Networks", 2016 (arXiv 1604.02878); numbers as in facenet-pytorch. Legend: N boxes, H x W the picture.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from lnclip.detection import PADDING, Candidates, Floats, Pixels, pad_candidates
from lnclip.onnx_session import OnnxSession, open_session

MIN_FACE_PX = 20
"""Letterbox pixels. 40 would be more than twice as fast and misses profiles."""

PYRAMID_FACTOR = 0.709
"""Between two sizes of the picture: half the area."""

CELL_PX, STRIDE_PX = 12, 2
"""What one cell of P-Net's answer sees, and how far apart the cells are."""

REFINE_PX, OUTPUT_PX = 24, 48
"""Side of R-Net's and O-Net's input."""

PROPOSAL_SCORE, REFINE_SCORE, OUTPUT_SCORE = 0.6, 0.7, 0.7
"""Lowest score that survives P-Net, R-Net and O-Net."""

LEVEL_IOU, STAGE_IOU = 0.5, 0.7
"""Overlap above which the worse box goes: within one size of the picture, and after each network."""

MAX_PROPOSALS = 1024
"""Boxes that R-Net looks at, best first: what bounds the time that a hostile picture can take.
The photographs of the tests have 50 to 200."""


class Found(NamedTuple):
    """Boxes with their scores and what else their network said."""

    boxes: Floats
    """(N, 4) x1, y1, x2, y2 in picture pixels, counted from 1."""

    scores: Floats
    """(N,)."""

    offsets: Floats
    """(N, 4): how far the face's edges are from the box's, in sides of the box."""

    landmarks: Floats
    """(N, 5, 2) in picture pixels; O-Net's alone, else (N, 0, 2)."""

    def take(self, rows: NDArray[np.generic]) -> Found:
        """Some rows of it, by index or mask."""
        return Found(*(values[rows] for values in self))


class Picture:
    """A picture that can be shrunk, whole or in part, to any size at the same small cost.

    Every pixel of the small one is the mean of the pixels below it, edge pixels counted whole
    (torch calls it adaptive average pooling), read from a table of sums. OpenCV's INTER_AREA
    counts edge pixels by their share, which moves boxes by up to 10 px from those of the
    package whose weights these are.
    """

    def __init__(self, pixels: Pixels) -> None:
        """Sum up (H, W, 3) pixels."""
        self.height, self.width = pixels.shape[:2]
        self._sums_HWC: NDArray[np.int32] = cv2.integral(pixels)

    def shrunk(self, edges: tuple[int, int, int, int], width: int, height: int) -> Floats:
        """The part between ``edges`` (left, top, right, bottom) as (height, width, 3), 0..255."""
        left, top, right, bottom = edges
        low_x, high_x = _spans(right - left, width)
        low_y, high_y = _spans(bottom - top, height)
        rows_HWC = self._sums_HWC[top + high_y, left : right + 1] - self._sums_HWC[top + low_y, left : right + 1]
        totals_HWC = rows_HWC.take(high_x, axis=1) - rows_HWC.take(low_x, axis=1)
        areas_HW = np.multiply.outer(high_y - low_y, high_x - low_x)
        means_HWC: Floats = totals_HWC.astype(np.float32) / areas_HW.astype(np.float32)[..., None]
        return means_HWC


@functools.lru_cache(maxsize=4096)
def _spans(length: int, parts: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First and one-past-last pixel of each of ``parts`` of a side."""
    starts = np.arange(parts + 1) * length
    return starts[:-1] // parts, -(-starts[1:] // parts)


class Mtcnn:
    """The cascade; one picture at a time, for each has its own sizes."""

    detector_id = 0

    def __init__(self, folder: Path, threads: int = 1) -> None:
        """Load pnet.onnx, rnet.onnx and onet.onnx.

        Raises:
            ArtifactError: one is missing or damaged.
        """
        self._pnet, self._rnet, self._onet = (
            open_session(folder / f"{name}.onnx", threads) for name in ("pnet", "rnet", "onet")
        )

    def detect(self, letterboxes: Pixels) -> Candidates:
        """Faces of (B, 640, 640, 3) RGB letterboxes, in letterbox pixels."""
        found = [self._detect_one(letterbox) for letterbox in letterboxes]
        return Candidates(*map(np.concatenate, zip(*found, strict=True)))

    def _detect_one(self, letterbox: Pixels) -> Candidates:
        picture = Picture(without_padding(letterbox))
        found = propose(self._pnet, picture)
        found = refine(self._rnet, picture, squared(found.boxes))
        found = conclude(self._onet, picture, squared(found.boxes))
        return pad_candidates(found.boxes, found.scores, found.landmarks)


def without_padding(letterbox: Pixels) -> Pixels:
    """The part of a letterbox that the picture occupies, top-left; a view."""
    padding = cv2.inRange(letterbox, PADDING, PADDING)  # 255 where it is, else 0
    rows, columns = (np.flatnonzero(padding.min(axis=axis) == 0) for axis in (1, 0))
    return letterbox[: rows[-1] + 1, : columns[-1] + 1] if len(rows) else letterbox[:1, :1]


def propose(pnet: OnnxSession, picture: Picture) -> Found:
    """P-Net over the picture in all sizes: boxes corrected, suppressed and cut to the best."""
    whole = (0, 0, picture.width, picture.height)
    scale, levels = CELL_PX / MIN_FACE_PX, [_nothing()]
    while min(picture.height, picture.width) * scale >= CELL_PX:
        small_HWC = picture.shrunk(whole, int(picture.width * scale + 1), int(picture.height * scale + 1))
        levels.append(propose_at(pnet, small_HWC, scale))
        scale *= PYRAMID_FACTOR
    found = Found(*map(np.concatenate, zip(*levels, strict=True)))
    found = found.take(suppress(found, STAGE_IOU)[:MAX_PROPOSALS])
    sides = found.boxes[:, 2:] - found.boxes[:, :2]
    return found._replace(boxes=found.boxes + found.offsets * np.tile(sides, 2))


def propose_at(pnet: OnnxSession, small_HWC: Floats, scale: float) -> Found:
    """P-Net over one size of the picture; boxes at full size."""
    scores_HW, offsets_4HW = (answer[0] for answer in pnet.run(["scores", "offsets"], {"pixels": small_HWC[None]}))
    cells = np.argwhere(scores_HW >= PROPOSAL_SCORE)
    rows, columns = cells.T
    corners = cells[:, ::-1] * STRIDE_PX + 1
    boxes = np.floor(np.concatenate([corners, corners + CELL_PX - 1], axis=1) / scale).astype(np.float32)
    landmarks = np.empty((len(cells), 0, 2), np.float32)
    found = Found(boxes, scores_HW[rows, columns], offsets_4HW[:, rows, columns].T, landmarks)
    return found.take(suppress(found, LEVEL_IOU))


def refine(rnet: OnnxSession, picture: Picture, boxes: Floats) -> Found:
    """R-Net on every box: those that are faces, corrected."""
    boxes, crops = cut(picture, boxes, REFINE_PX)
    if len(crops) == 0:
        return _nothing()
    scores, offsets = rnet.run(["scores", "offsets"], {"pixels": crops})
    found = Found(boxes, scores, offsets, np.empty((len(boxes), 0, 2), np.float32))
    found = found.take(scores > REFINE_SCORE)
    found = found.take(suppress(found, STAGE_IOU))
    return found._replace(boxes=corrected(found))


def conclude(onet: OnnxSession, picture: Picture, boxes: Floats) -> Found:
    """O-Net on every box: faces with landmarks; of two boxes, one inside the other, one stays."""
    boxes, crops = cut(picture, boxes, OUTPUT_PX)
    if len(crops) == 0:
        return _nothing()._replace(landmarks=np.empty((0, 5, 2), np.float32))
    scores, offsets, points = onet.run(["scores", "offsets", "landmarks"], {"pixels": crops})
    sides = boxes[:, None, 2:] - boxes[:, None, :2] + 1
    found = Found(boxes, scores, offsets, boxes[:, None, :2] - 1 + sides * points)
    found = found.take(scores > OUTPUT_SCORE)
    found = found._replace(boxes=corrected(found))
    return found.take(suppress_nested(found, STAGE_IOU))


def corrected(found: Found) -> Floats:
    """(N, 4) boxes moved by their offsets."""
    sides = found.boxes[:, 2:] - found.boxes[:, :2] + 1
    return found.boxes + found.offsets * np.tile(sides, 2)


def squared(boxes: Floats) -> Floats:
    """(N, 4) boxes with the shorter side grown to the longer, about their centres."""
    sides = boxes[:, 2:] - boxes[:, :2]
    longest = sides.max(axis=1, keepdims=True)
    low = boxes[:, :2] + (sides - longest) / 2
    return np.concatenate([low, low + longest], axis=1)


def cut(picture: Picture, boxes: Floats, side_px: int) -> tuple[Floats, Floats]:
    """Cut boxes out of the picture, as far as they lie in it, and fit each into a square.

    Returns:
        The boxes (M, 4) that touch the picture, and their crops (M, side_px, side_px, 3).
    """
    whole = np.trunc(boxes).astype(np.int64)
    low, high = np.maximum(whole[:, :2] - 1, 0), np.minimum(whole[:, 2:], (picture.width, picture.height))
    inside = (low < high).all(axis=1)
    crops = np.empty((np.count_nonzero(inside), side_px, side_px, 3), np.float32)
    for crop, edges in zip(crops, np.concatenate([low, high], axis=1)[inside].tolist(), strict=True):
        crop[...] = picture.shrunk(edges, side_px, side_px)
    return boxes[inside], crops


def suppress(found: Found, iou: float) -> NDArray[np.intp]:
    """Greedy non-maximum suppression: indices of the kept, best first."""
    rectangles = np.concatenate([found.boxes[:, :2], found.boxes[:, 2:] - found.boxes[:, :2]], axis=1)
    kept = cv2.dnn.NMSBoxes(rectangles.tolist(), found.scores.tolist(), 0.0, iou)
    return np.asarray(kept, np.intp).reshape(-1)


def suppress_nested(found: Found, share: float) -> NDArray[np.intp]:
    """As ``suppress``, but the overlap is measured against the smaller of two boxes."""
    areas = (found.boxes[:, 2:] - found.boxes[:, :2] + 1).prod(axis=1)
    order, kept = np.argsort(-found.scores, kind="stable"), []
    while len(order):
        best, others = order[0], order[1:]
        kept.append(best)
        low = np.maximum(found.boxes[best, :2], found.boxes[others, :2])
        high = np.minimum(found.boxes[best, 2:], found.boxes[others, 2:])
        common = np.clip(high - low + 1, 0, None).prod(axis=1)
        order = others[common <= share * np.minimum(areas[best], areas[others])]
    return np.array(kept, np.intp)


def _nothing() -> Found:
    return Found(*(np.empty((0, *shape), np.float32) for shape in ((4,), (), (4,), (0, 2))))
