"""Finding faces while data are made: the same functions, in the same order, as the server's models."""

from __future__ import annotations

from lnclip.detection import Detections, Pixels, choose_faces, letterbox
from lnclip.detectors import Detector
from lnclip.scoring import RequestParameters


def find_faces(frame_HWC: Pixels, detector: Detector) -> Detections:
    """The faces of one frame under the server's default limits, largest first."""
    limits = RequestParameters()
    candidates = detector.detect(letterbox(frame_HWC)[None])
    height, width = frame_HWC.shape[:2]
    return choose_faces(candidates, (width, height), limits.face_choice(detector.detector_id, limits.max_faces))
