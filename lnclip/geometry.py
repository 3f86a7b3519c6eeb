"""Where a face lands in its crop: from five landmarks to a similarity transform."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from lnclip.errors import ImageError
from lnclip.spec import PreprocessSpec

Points = NDArray[np.floating]
Matrix = NDArray[np.float64]

MAX_NATIVE_PX = 4096
"""No crop is larger than this: a face fills at most the 50 megapixels that intake admits."""


def target_landmarks(spec: PreprocessSpec, side_px: int) -> NDArray[np.float64]:
    """Where the five landmarks must land in a crop of that side, (5, 2) pixels.

    ``crop_scale`` shrinks the template about the crop's centre: at 1.3 the face fills 1/1.3 of
    the crop and the rest is context.

    Source: GenD detector.py, t' = (t + (s - 1) / 2) / s.
    """
    return side_px * (0.5 + (np.asarray(spec.template) - 0.5) / spec.crop_scale)


def native_side_px(landmarks: Points, spec: PreprocessSpec) -> int:
    """Side at which the crop keeps the face's own resolution.

    The mean over the ten pairs of landmarks of distance in the frame / distance in the template,
    times ``crop_scale``, between 1 and 4096.

    Args:
        landmarks: (5, 2) frame pixels.
        spec: whose template and crop scale count.

    Source: GenD detector.py, ``target_size=None``.
    """
    first, second = np.triu_indices(5, k=1)
    template = np.asarray(spec.template)
    apart = np.linalg.norm(landmarks[first] - landmarks[second], axis=1)
    template_apart = np.linalg.norm(template[first] - template[second], axis=1)
    return int(np.clip(np.rint((apart / template_apart).mean() * spec.crop_scale), 1, MAX_NATIVE_PX))


def similarity_matrix(source: Points, target: Points, spec: PreprocessSpec) -> Matrix:
    """Rotation, uniform scale and shift that take ``source`` to ``target``.

    Args:
        source: (5, 2) points in the frame, pixels, x right and y down.
        target: (5, 2) where they must land.
        spec: its ``estimator`` says how to fit: ``lmeds`` drops outliers (what GenD trained
            with), ``least_squares`` weighs all points (what DeepfakeBench used).

    Returns:
        (2, 3) matrix for ``cv2.warpAffine``.

    Raises:
        ImageError: the points admit no similarity (they coincide).
    """
    if np.ptp(source, axis=0).max() < 1e-3:
        raise ImageError("degenerate_landmarks", "the face's landmarks coincide; no crop can be cut")
    if spec.estimator == "least_squares":
        return _least_squares(source.astype(np.float64), target)
    matrix, _ = cv2.estimateAffinePartial2D(source.astype(np.float64), target.astype(np.float64), method=cv2.LMEDS)
    if matrix is None:
        raise ImageError("degenerate_landmarks", "no similarity fits the face's landmarks; no crop can be cut")
    return np.asarray(matrix, np.float64)


def _least_squares(source: Points, target: Points) -> Matrix:
    """Umeyama, "Least-squares estimation of transformation parameters", 1991, in the plane.

    With points as complex numbers a similarity without reflection is z -> a z + b, and the best
    a is a quotient of two sums.
    """
    z, w = source @ (1, 1j), target @ (1, 1j)
    z_mean, w_mean = z.mean(), w.mean()
    a = np.vdot(z - z_mean, w - w_mean) / np.vdot(z - z_mean, z - z_mean).real
    b = w_mean - a * z_mean
    return np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])
