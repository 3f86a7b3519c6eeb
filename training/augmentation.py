"""Random changes of a crop, as a function of a generator: the same draw gives the same pixels."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from training.config import Augmentation

Pixels = NDArray[np.uint8]


def augment(crop_HWC: Pixels, settings: Augmentation, rng: np.random.Generator) -> Pixels:
    """Mirror, rotate, shift and zoom in one bilinear warp (black outside), then brightness and contrast.

    Draws as many numbers whatever the settings, so that switching one step off leaves the others.

    Source: arXiv 2508.06248's list (flip, affine, brightness and contrast), its blur and JPEG aside.
    """
    side = crop_HWC.shape[0]
    mirrored = rng.random() < settings.flip
    angle, across, down, zoom, brightness, contrast = rng.uniform(-1, 1, 6)
    moves = np.array([settings.rotate_deg, settings.shift, settings.shift, settings.zoom])
    crop = np.ascontiguousarray(crop_HWC[:, ::-1]) if mirrored else crop_HWC
    if moves.any():
        centre = ((side - 1) / 2, (side - 1) / 2)
        matrix = cv2.getRotationMatrix2D(centre, settings.rotate_deg * angle, 1 + settings.zoom * zoom)
        matrix[:, 2] += side * settings.shift * np.array([across, down])
        crop = np.asarray(cv2.warpAffine(crop, matrix, (side, side), flags=cv2.INTER_LINEAR), np.uint8)
    if settings.brightness or settings.contrast:
        values = crop.astype(np.float32) * np.float32(1 + settings.brightness * brightness)
        grey = values.mean(dtype=np.float64).astype(np.float32)
        values = grey + (values - grey) * np.float32(1 + settings.contrast * contrast)
        crop = np.rint(values).clip(0, 255).astype(np.uint8)
    return crop
