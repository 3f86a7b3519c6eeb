"""Finding faces while data are made: the same functions, in the same order, as the server's models."""

from __future__ import annotations

import cv2
import numpy as np

from lnclip.detection import Detections, Pixels, choose_faces, letterbox
from lnclip.detectors import Detector
from lnclip.scoring import RequestParameters

MASKED_ABOVE = 1
"""Grey levels above which a mask's pixel is manipulated. Source: GenD's detector.py."""


def find_faces(frame_HWC: Pixels, detector: Detector) -> Detections:
    """The faces of one frame under the server's default limits, largest first."""
    limits = RequestParameters()
    candidates = detector.detect(letterbox(frame_HWC)[None])
    height, width = frame_HWC.shape[:2]
    return choose_faces(candidates, (width, height), limits.face_choice(detector.detector_id, limits.max_faces))


def masked_face(faces: Detections, mask_HWC: Pixels) -> int | None:
    """The face whose box covers most manipulated pixels, the larger of two; None when none covers any.

    Args:
        faces: N, in the mask's pixels, largest first.
        mask_HWC: RGB.

    Source: GenD's detector.py.
    """
    manipulated = cv2.cvtColor(mask_HWC, cv2.COLOR_RGB2GRAY) > MASKED_ABOVE
    covered = [int(manipulated[y1:y2, x1:x2].sum()) for x1, y1, x2, y2 in faces.boxes.astype(int)]
    return int(np.argmax(covered)) if max(covered, default=0) else None
