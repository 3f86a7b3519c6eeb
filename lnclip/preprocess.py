"""From a frame and five landmarks to what the network reads. Pixel for pixel the same everywhere.

Reference order: one bilinear warp to the face's own size, then PIL's antialiased resize with its
uint8 rounding, centre crop, /255, mean and std. Legend: N faces, S the network's input side.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lnclip.detection import DETECTORS, Detections, Floats, Pixels
from lnclip.geometry import native_side_px, similarity_matrix, target_landmarks
from lnclip.spec import PreprocessSpec

SMALL_FACE_PX = 112
"""A native crop below this shows the network enlarged pixels."""

BLURRED_BELOW = 15.0
"""Variance of the Laplacian (grey levels squared) of the network's input under which a face is
called blurred; sharp photographs have hundreds."""

LOW_SCORE_MARGIN = 0.05
"""A face that near to the detector's default threshold is flagged."""


class Faces(NamedTuple):
    """N faces ready for the encoder, with what the caller is told about each."""

    crops: Pixels
    """(N, S, S, 3) RGB."""

    detections: Detections
    flags: list[str]
    """N words or phrases: small, blurred, touches_border, low_score, separated by spaces."""


def align(frame_HWC: Pixels, landmarks: Floats, spec: PreprocessSpec) -> Pixels:
    """Cut one upright face crop out of a frame.

    Args:
        frame_HWC: RGB frame.
        landmarks: (5, 2) frame pixels, order of ``spec.template``.
        spec: says side, context and estimator.

    Returns:
        (side, side, 3) RGB, side = ``crop_px`` or the face's own; black where it leaves the frame.

    Raises:
        ImageError: the landmarks admit no similarity.
    """
    side = spec.crop_px or native_side_px(landmarks, spec)
    matrix = similarity_matrix(landmarks, target_landmarks(spec, side), spec)
    return np.asarray(cv2.warpAffine(frame_HWC, matrix, (side, side), flags=cv2.INTER_LINEAR), np.uint8)


def fit_input(crop_HWC: Pixels, spec: PreprocessSpec) -> Pixels:
    """Resize a crop so that its shorter side is S, then cut the centre square.

    Args:
        crop_HWC: RGB, any size; aligned crops are square already.
        spec: says S and the filter.

    Returns:
        (S, S, 3).

    Source: torchvision Resize + CenterCrop on PIL images, as CLIP's own preprocessing.
    """
    side = spec.input_px
    image = Image.fromarray(crop_HWC)
    if spec.resize == "antialiased_bilinear":  # straight to the square, as DINOv3's processor does
        return np.asarray(image.resize((side, side), Image.Resampling.BILINEAR))
    short, long = min(image.size), max(image.size)
    scaled = int(side * long / short)
    size = (scaled, side) if image.width > image.height else (side, scaled)
    if size != image.size:
        image = image.resize(size, Image.Resampling.BICUBIC)
    left, top = round((image.width - side) / 2), round((image.height - side) / 2)
    return np.asarray(image.crop((left, top, left + side, top + side)))


def normalise(crops_NHWC: Pixels, spec: PreprocessSpec) -> Floats:
    """(N, S, S, 3) uint8 -> (N, 3, S, S) float32, C-contiguous: (value / 255 - mean) / std."""
    pixels = (crops_NHWC.astype(np.float32) / 255 - np.array(spec.mean, np.float32)) / np.array(spec.std, np.float32)
    return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))


def cut_faces(frame_HWC: Pixels, detections: Detections, detector_id: int, spec: PreprocessSpec) -> Faces:
    """All faces of one frame as network inputs, in the order of ``detections``.

    Args:
        frame_HWC: RGB frame.
        detections: N faces in its pixels.
        detector_id: who found them, for the ``low_score`` flag.
        spec: how to cut.

    Raises:
        ImageError: a face's landmarks admit no similarity.
    """
    low_score = DETECTORS[detector_id].threshold + LOW_SCORE_MARGIN
    crops, flags = [], []
    for box, landmarks, score in zip(*detections, strict=True):
        crops.append(fit_input(align(frame_HWC, landmarks, spec), spec))
        words = {
            "small": native_side_px(landmarks, spec) < SMALL_FACE_PX,
            "blurred": _sharpness(crops[-1]) < BLURRED_BELOW,
            "touches_border": bool((box[:2] <= 0).any() or (box[2:] >= frame_HWC.shape[1::-1]).any()),
            "low_score": bool(score < low_score),
        }
        flags.append(" ".join(word for word, holds in words.items() if holds))
    stacked = np.stack(crops) if crops else np.zeros((0, spec.input_px, spec.input_px, 3), np.uint8)
    return Faces(stacked, detections, flags)


def _sharpness(crop_HWC: Pixels) -> float:
    """Variance of the Laplacian of the grey picture."""
    grey: NDArray[np.uint8] = np.asarray(cv2.cvtColor(crop_HWC, cv2.COLOR_RGB2GRAY), np.uint8)
    return float(cv2.Laplacian(grey, cv2.CV_64F).var())
