"""Random changes of a crop, as a function of a generator: the same draw gives the same pixels.

Each step computes what torchvision's of that name computes on a PIL image, so that the papers'
settings mean the same here. Legend: H, W the crop's own size.
"""

from __future__ import annotations

import io
import math
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance

from training.config import Augmentation

Pixels = NDArray[np.uint8]

RESAMPLING = {"nearest": Image.Resampling.NEAREST, "bilinear": Image.Resampling.BILINEAR}


class Draw(NamedTuple):
    """The random numbers of one augmentation, each uniform in 0..1, all drawn whatever is switched on."""

    flip: float
    angle: float
    across: float
    down: float
    zoom: float
    blur: float
    sigma: float
    brightness: float
    contrast: float
    contrast_first: float
    jpeg: float
    quality: float


def augment(crop_HWC: Pixels, settings: Augmentation, rng: np.random.Generator) -> Pixels:
    """Mirror, turn and shift and zoom, blur, brightness and contrast, JPEG: in this order, size kept.

    Always takes the same amount from ``rng``, so that switching one step off leaves the others.

    Source: the lists of arXiv 2503.19683 and 2508.06248 and of their code.
    """
    draw = Draw(*rng.random(len(Draw._fields)).tolist())
    crop = np.ascontiguousarray(crop_HWC[:, ::-1]) if draw.flip < settings.flip else crop_HWC
    if settings.rotate_deg or settings.shift or settings.zoom:
        crop = _moved(crop, settings, draw)
    if draw.blur < settings.blur:
        sigma = _between(*settings.blur_sigma, draw.sigma)
        crop = blurred(crop, settings.blur_kernel, sigma)
    if settings.brightness or settings.contrast:
        crop = _toned(crop, settings, draw)
    if draw.jpeg < settings.jpeg:
        low, high = settings.jpeg_quality
        crop = compressed(crop, low + int(draw.quality * (high - low + 1)))
    return crop


def _between(low: float, high: float, share: float) -> float:
    return low + (high - low) * share


def _moved(crop_HWC: Pixels, settings: Augmentation, draw: Draw) -> Pixels:
    """Turned and zoomed about the centre, then shifted by whole pixels; black outside."""
    height, width = crop_HWC.shape[:2]
    angle = math.radians(_between(-settings.rotate_deg, settings.rotate_deg, draw.angle))
    scale = _between(1 - settings.zoom, 1 + settings.zoom, draw.zoom)
    right = round(_between(-settings.shift * width, settings.shift * width, draw.across))
    down = round(_between(-settings.shift * height, settings.shift * height, draw.down))
    cos, sin = math.cos(angle) / scale, math.sin(angle) / scale
    across = cos, sin, width / 2 - cos * (width / 2 + right) - sin * (height / 2 + down)
    along = -sin, cos, height / 2 + sin * (width / 2 + right) - cos * (height / 2 + down)
    moved = Image.fromarray(crop_HWC).transform(
        (width, height), Image.Transform.AFFINE, (*across, *along), RESAMPLING[settings.interpolation]
    )
    return np.asarray(moved)


def blurred(crop_HWC: Pixels, kernel: tuple[int, int], sigma: float) -> Pixels:
    """Gaussian blur; ``kernel`` is width and height in pixels, the border is mirrored at the edge pixel.

    Source: torchvision, ``gaussian_blur``: weights at whole pixels, normalised.
    """
    across, along = (_gaussian(size, sigma) for size in kernel)
    values = cv2.sepFilter2D(crop_HWC, cv2.CV_32F, across, along, borderType=cv2.BORDER_REFLECT_101)
    return np.asarray(np.rint(values), np.uint8)  # a mean of bytes needs no clipping


def _gaussian(size: int, sigma: float) -> NDArray[np.float32]:
    weights = np.exp(-0.5 * ((np.arange(size) - (size - 1) / 2) / sigma) ** 2)
    return np.asarray(weights / weights.sum(), np.float32)


def _toned(crop_HWC: Pixels, settings: Augmentation, draw: Draw) -> Pixels:
    """Brightness and contrast in a random order, each rounded to bytes, as torchvision's ColorJitter does."""
    steps = [
        (ImageEnhance.Brightness, _between(1 - settings.brightness, 1 + settings.brightness, draw.brightness)),
        (ImageEnhance.Contrast, _between(1 - settings.contrast, 1 + settings.contrast, draw.contrast)),
    ]
    image = Image.fromarray(crop_HWC)
    for enhance, factor in reversed(steps) if draw.contrast_first < 0.5 else steps:
        image = enhance(image).enhance(factor)
    return np.asarray(image)


def compressed(crop_HWC: Pixels, quality: int) -> Pixels:
    """Through a JPEG of that quality, 0..100, colours at half resolution."""
    file = io.BytesIO()
    Image.fromarray(crop_HWC).save(file, "JPEG", quality=quality, subsampling="4:2:0")
    return np.asarray(Image.open(file))
