"""How metrics hold out when crops are compressed, blurred, made smaller or noisy, one at a time.

Each crop is changed at its own size, before the model's preprocessing. Levels: arXiv 2508.06248's code,
whose own blur was never applied; here it is.
"""

from __future__ import annotations

import io
import logging
import zlib
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from PIL import Image

from lnclip.artifact import Identity
from lnclip.encoder import FaceEncoder
from lnclip.evaluation import PARAMETERS, RobustnessRow
from lnclip.index import Item
from lnclip.metrics import auroc
from lnclip.pooling import Scored, by_dataset, pool_videos
from training.assessment.scoring import Distortion, Pixels, calibrated, logit_margins, score_items

log = logging.getLogger(__name__)

JPEG_QUALITIES = (100, 80, 60, 40, 20, 10)
BLURS = ((0, 0.0), (5, 0.5), (7, 1.0), (11, 1.5), (13, 2.0), (19, 3.0))
"""Side of the kernel and standard deviation, pixels; the first is none."""

SHORTEST_SIDES = (224, 112, 64)
"""Pixels."""

NOISES = (0.0, 0.01, 0.03, 0.05, 0.1, 0.2)
"""Standard deviation, 1 being white; the first is none."""


class Distorted(NamedTuple):
    """One row of the protocol."""

    distortion: str
    level: float
    distort: Distortion | None
    """None changes nothing."""


def compress(crop_HWC: Pixels, _item: Item, *, quality: int) -> Pixels:
    """JPEG of a quality, 1 to 100, and back."""
    file = io.BytesIO()
    Image.fromarray(crop_HWC).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def blur(crop_HWC: Pixels, _item: Item, *, kernel: int, sigma: float) -> Pixels:
    """Gaussian blur; the border is mirrored without repeating its last pixel, as torchvision's.

    In NumPy: OpenCV's thread pool does not survive the fork into a process that reads crops.
    """
    radius = kernel // 2
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    weights /= weights.sum()
    blurred = crop_HWC.astype(np.float64)
    for axis in (0, 1):
        border = [(radius, radius) if axis == padded else (0, 0) for padded in range(3)]
        windows = np.lib.stride_tricks.sliding_window_view(np.pad(blurred, border, "reflect"), kernel, axis)
        blurred = windows @ weights
    return np.rint(blurred).astype(np.uint8)


def shrink(crop_HWC: Pixels, _item: Item, *, shortest_px: int) -> Pixels:
    """Resize so that the shortest side is that, bicubic; a smaller crop grows."""
    image = Image.fromarray(crop_HWC)
    factor = shortest_px / min(image.size)
    size = (round(image.width * factor), round(image.height * factor))
    return np.asarray(image.resize(size, Image.Resampling.BICUBIC))


def add_noise(crop_HWC: Pixels, item: Item, *, sigma: float) -> Pixels:
    """Gaussian noise on every value, drawn from the crop's name, so that it is the same at every level and run."""
    name = "/".join((item.dataset, item.source, item.video, item.path.name))
    noise = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(crop_HWC.shape)
    return np.clip(np.rint(crop_HWC + 255 * sigma * noise), 0, 255).astype(np.uint8)


PROTOCOL = (
    *(Distorted("jpeg", quality, partial(compress, quality=quality)) for quality in JPEG_QUALITIES),
    *(Distorted("blur", sigma, partial(blur, kernel=side, sigma=sigma) if side else None) for side, sigma in BLURS),
    *(Distorted("resize", side, partial(shrink, shortest_px=side)) for side in SHORTEST_SIDES),
    *(Distorted("noise", sigma, partial(add_noise, sigma=sigma) if sigma else None) for sigma in NOISES),
)
"""In the order it is reported."""


def measure_robustness(
    encoder: FaceEncoder, identity: Identity, items: Sequence[Item], datasets: Sequence[str], num_workers: int
) -> list[RobustnessRow]:
    """AUROC of the named data sets, all of which have both classes, at each level.

    Raises:
        ConfigError: a crop cannot be read.
    """
    chosen = [item for item in items if (item.dataset or "unnamed") in datasets]
    rows, clean = [], score_items(encoder, identity, chosen, num_workers)
    for distortion, level, distort in PROTOCOL:
        p_fake = clean
        if distort:
            margins = logit_margins(encoder, identity, chosen, num_workers, distort)
            p_fake = calibrated(margins, identity.temperature)
        found = {name: _aurocs(scored) for name, scored in by_dataset(chosen, p_fake).items()}
        frame, video = (float(np.mean([one[key] for one in found.values()])) for key in ("frame", "video"))
        rows.append(RobustnessRow(distortion=distortion, level=level, frame=frame, video=video, datasets=found))
        log.info("%s, %s %g: video AUROC %.4f", distortion, PARAMETERS[distortion], level, video)
    return rows


def _aurocs(scored: Scored) -> dict[str, float]:
    videos = pool_videos(*scored)
    return {"frame": auroc(scored.is_fake, scored.p_fake), "video": auroc(videos.is_fake, videos.p_fake)}
