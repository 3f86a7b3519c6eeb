"""Self-blending: a fake is a face blended into itself, so that nothing but the blending tells.

Two versions of one photograph are drawn: two colourings, and two placements that differ by a few
per cent. The real twin is one of them, whole; the fake is one inside the face and the other
outside. Each pixel of either was resampled exactly once, and inside alone or outside alone both
look alike by construction: only the inconsistency between the two is left to learn.

Source: the idea of Shiohara and Yamasaki, "Detecting Deepfakes with Self-Blended Images", CVPR
2022 (arXiv 2204.08376). Written from the paper; the twins' symmetry is ours. Legend: T the side of
a tight crop (``lnclip.spec`` template) in pixels.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from lnclip.geometry import native_side_px
from lnclip.spec import PreprocessSpec

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]
Points = NDArray[np.float64]
Matrix = NDArray[np.float64]

TIGHT = PreprocessSpec(crop_scale=1.0)

FACE_OVAL = np.array([(0.5, 0.58), (0.36, 0.50)])
"""Centre and half axes of a face, tight-crop fractions: from above the brows to below the chin."""

OVAL_POINTS = 16
MIRROR = (1, 0, 2, 4, 3)
"""Which landmark each one becomes when the picture is mirrored."""


class Photograph(NamedTuple):
    """A picture with one known face."""

    name: str
    pixels: Pixels
    """(H, W, 3) RGB."""

    landmarks: Floats
    """(5, 2) pixels."""


class Recipe(NamedTuple):
    """How strong the changes are; every range is uniform."""

    colour_levels: tuple[float, float] = (20, 40)
    """Largest difference of a channel between the two colourings, levels of 255."""

    whole_levels: float = 10
    """Channels of both move by up to plus or minus this, together."""

    contrast: float = 0.08
    """Both are multiplied by 1 minus to 1 plus this about mid grey."""

    displacement: float = 0.03
    """The two placements differ by up to plus or minus this in shift (of T) and scale."""

    elastic: float = 0.03
    """How far the mask's edge wanders, standard deviation, of T."""

    face_px: tuple[float, float] = (105, 150)
    """T in the finished picture."""

    side_px: tuple[int, int] = (240, 288)
    """Width and height of the finished picture."""

    rotation_deg: float = 12
    """Plus or minus."""


class Twins(NamedTuple):
    """One draw: the same material, real and fake."""

    real: Pixels
    fake: Pixels
    mask: Floats
    """(H, W) 0..1, where the fake's other version shows."""


def draw_twins(photograph: Photograph, recipe: Recipe, rng: np.random.Generator) -> Twins:
    """A real picture and its self-blended twin, with new placement, colours and mask."""
    photograph = _mirrored(photograph) if rng.random() < 0.5 else photograph
    size = rng.integers(recipe.side_px[0], recipe.side_px[1], 2, endpoint=True)
    face_px = rng.uniform(*recipe.face_px)
    placement = _placement(photograph.landmarks, face_px, size, recipe, rng)
    centre = _transform(placement, photograph.landmarks).mean(axis=0)

    versions = []
    for colouring, nudge in zip(_two_colourings(recipe, rng), _two_nudges(centre, face_px, recipe, rng), strict=True):
        matrix = (nudge @ _square(placement))[:2]
        versions.append(_coloured(_render(photograph.pixels, matrix, size), colouring))
    inside, outside = versions
    mask = face_mask(_transform(placement, photograph.landmarks), (int(size[1]), int(size[0])), recipe.elastic, rng)
    fake = outside + mask[..., None] * (inside - outside)
    return Twins(_bytes(versions[rng.integers(2)]), _bytes(fake), mask)


def face_mask(landmarks: Points, shape: tuple[int, int], elastic: float, rng: np.random.Generator) -> Floats:
    """A soft oval over a face, its outline jittered, its edge elastic, blurred twice.

    The first blur is cut at a random level, so that the mask grows or shrinks; the second makes
    the edge soft, from hardly to broadly.

    Args:
        landmarks: (5, 2) pixels.
        shape: height, width of the picture.
        elastic: how far the edge wanders, standard deviation, of T.
        rng: draws.

    Returns:
        (H, W), 0 outside to 1 inside.
    """
    face_px = native_side_px(landmarks, TIGHT)
    angles = np.arange(OVAL_POINTS) * (2 * np.pi / OVAL_POINTS)
    centre, axes = FACE_OVAL
    reach = rng.uniform(0.8, 1.05, 2) * rng.uniform(0.92, 1.08, (OVAL_POINTS, 1))
    oval = centre + axes * reach * np.column_stack([np.cos(angles), np.sin(angles)])
    to_picture, _ = cv2.estimateAffinePartial2D(np.asarray(TIGHT.template), np.asarray(landmarks, np.float64))
    hull = cv2.convexHull(_transform(to_picture, oval).astype(np.float32))
    filled = np.zeros(shape, np.float32)
    cv2.fillConvexPoly(filled, np.rint(hull).astype(np.int32), 1.0)

    wander = [_smooth_noise(shape, rng) * elastic * face_px for _ in range(2)]
    rows, columns = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    warped = cv2.remap(filled, columns + wander[0], rows + wander[1], cv2.INTER_LINEAR)
    grown = cv2.GaussianBlur(warped, (0, 0), 0.04 * face_px) > rng.uniform(0.3, 0.7)
    soft = cv2.GaussianBlur(grown.astype(np.float32), (0, 0), rng.uniform(0.01, 0.05) * face_px)
    return np.asarray(np.clip(soft, 0, 1), np.float32)


def _smooth_noise(shape: tuple[int, int], rng: np.random.Generator) -> Floats:
    """Standard normal values on a 6 x 6 grid, smoothly enlarged to (H, W)."""
    grid = rng.standard_normal((6, 6)).astype(np.float32)
    return np.asarray(cv2.resize(grid, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC), np.float32)


def _placement(
    landmarks: Floats, face_px: float, size: NDArray[np.int64], recipe: Recipe, rng: np.random.Generator
) -> Matrix:
    """Where the photograph lies in the picture: (2, 3) similarity with the face near the middle."""
    scale = face_px / native_side_px(landmarks, TIGHT)
    middle = landmarks.mean(axis=0).astype(np.float64)
    matrix = cv2.getRotationMatrix2D(middle.tolist(), rng.uniform(-1, 1) * recipe.rotation_deg, scale)
    matrix[:, 2] += size * rng.uniform(0.43, 0.53, 2) - middle
    return np.asarray(matrix, np.float64)


def _two_colourings(recipe: Recipe, rng: np.random.Generator) -> list[Matrix]:
    """Gain and three shifts each; neither is the stronger one."""
    gain = 1 + recipe.contrast * rng.uniform(-1, 1)
    whole = recipe.whole_levels * rng.uniform(-1, 1, 3)
    direction = rng.uniform(-1, 1, 3)
    apart = direction / np.abs(direction).max() * rng.uniform(*recipe.colour_levels)
    return [np.array([gain, *(whole + half * apart)]) for half in (0.5, -0.5)]


def _two_nudges(centre: Points, face_px: float, recipe: Recipe, rng: np.random.Generator) -> list[Matrix]:
    """Two (3, 3) moves about the face, equal and opposite: a shift, and a scale of its own per axis."""
    shift = recipe.displacement * rng.uniform(-1, 1, 2) * face_px / 2
    stretch = recipe.displacement * rng.uniform(-1, 1, 2) / 2
    moves = []
    for sign in (1, -1):
        scale = 1 + sign * stretch
        move = np.diag([*scale, 1.0])
        move[:2, 2] = centre - scale * centre + sign * shift
        moves.append(move)
    return moves


def _render(pixels: Pixels, matrix: Matrix, size: NDArray[np.int64]) -> Floats:
    """The photograph under ``matrix``, (H, W, 3); its edge goes on where it ends."""
    warped = cv2.warpAffine(
        pixels, matrix, (int(size[0]), int(size[1])), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(warped, np.float32)


def _coloured(picture: Floats, colouring: Matrix) -> Floats:
    gain, *shifts = colouring.astype(np.float32)
    return np.asarray(np.clip((picture - 127.5) * gain + 127.5 + np.array(shifts), 0, 255), np.float32)


def _mirrored(photograph: Photograph) -> Photograph:
    width = photograph.pixels.shape[1]
    landmarks = photograph.landmarks[list(MIRROR)]
    landmarks[:, 0] = width - 1 - landmarks[:, 0]
    return photograph._replace(pixels=np.ascontiguousarray(photograph.pixels[:, ::-1]), landmarks=landmarks)


def _square(matrix: Matrix) -> Matrix:
    return np.vstack([matrix, (0.0, 0.0, 1.0)])


def _transform(matrix: Matrix, points: NDArray[np.floating]) -> Points:
    return np.asarray(points @ matrix[:, :2].T + matrix[:, 2], np.float64)


def _bytes(picture: Floats) -> Pixels:
    return np.rint(picture).clip(0, 255).astype(np.uint8)
