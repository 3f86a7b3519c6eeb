"""The crops over which an exported graph is compared with its reference.

Crops of the user's own, from an index; or, where none are given, made-up textures. Four adversarial
ones come with either. Legend: N crops, S their side.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lnclip.errors import ConfigError, ImageError
from lnclip.intake import read_image
from lnclip.preprocess import fit_input
from lnclip.spec import PreprocessSpec

Crops = NDArray[np.uint8]

NUM_SYNTHETIC = 60
"""With the adversarial ones: one batch of 64."""

NUM_WAVES = 4
"""Plane waves in a texture."""


@dataclass(frozen=True, kw_only=True)
class ParityCrops:
    """N crops, and what is known of them."""

    source: str
    """Where they come from: "synthetic", or the index's path."""

    crops: Crops
    """(N, S, S, 3) RGB."""

    names: list[str]
    """N, for the report."""

    labels: list[str | None]
    """N of "real", "fake" or None."""


def read_crops(index: Path, spec: PreprocessSpec) -> ParityCrops:
    """The aligned crops of an index, fitted to the network's input, and the adversarial ones.

    Args:
        index: CSV with path (relative to it), label, and optionally kind.
        spec: S and the resize filter.

    Raises:
        ConfigError: the index or a crop in it cannot be used.
    """
    try:
        with index.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{index} cannot be read: {error}") from error
    if not rows or not {"path", "label"} <= rows[0].keys():
        raise ConfigError(f"{index} must be a CSV with the columns path,label and at least one row")
    crops, names, labels = [], [], []
    for row in rows:
        if row.get("kind", "crop") not in ("crop", ""):
            raise ConfigError(
                f"{index}: {row['path']} is a {row['kind']}, parity needs crops: python -m training prepare"
            )
        if row["label"] not in ("real", "fake"):
            raise ConfigError(f"{index}: the label of {row['path']} is {row['label']!r}, must be real or fake")
        try:
            frame = read_image((index.parent / row["path"]).read_bytes())
        except (OSError, ImageError) as error:
            raise ConfigError(f"{index}: {row['path']} cannot be read: {error}") from error
        crops.append(fit_input(frame.pixels, spec))
        names.append(row["path"])
        labels.append(row["label"])
    return _with_adversarial(str(index), crops, names, labels, spec.input_px)


def synthetic_crops(spec: PreprocessSpec, *, seed: int = 0) -> ParityCrops:
    """Textures of many colours, contrasts and frequencies: varied pixels, but nobody's faces."""
    rng = np.random.default_rng(seed)
    crops = [_texture(rng, spec.input_px) for _ in range(NUM_SYNTHETIC)]
    names = [f"synthetic/{index:02d}" for index in range(NUM_SYNTHETIC)]
    return _with_adversarial("synthetic", crops, names, [None] * NUM_SYNTHETIC, spec.input_px)


def _texture(rng: np.random.Generator, side: int) -> Crops:
    """A colour, waves of one random scale (0.4 to 20 across the crop) and noise, each of random strength."""
    y, x = np.mgrid[:side, :side] / side
    mean_waves, contrast, noise = np.exp(rng.uniform(-1, 3)), rng.uniform(5, 60), rng.uniform(0, 40)
    pixels = rng.uniform(20, 235, 3) + noise * rng.normal(size=(side, side, 3))
    for _ in range(NUM_WAVES):
        turn, waves = rng.uniform(0, 2 * np.pi), mean_waves * rng.uniform(0.5, 2)
        along = 2 * np.pi * waves * (x * np.cos(turn) + y * np.sin(turn))
        pixels += contrast * np.sin(along[..., None] + rng.uniform(0, 2 * np.pi, 3))
    return np.asarray(pixels.clip(0, 255).round(), np.uint8)


def _with_adversarial(
    source: str, crops: list[Crops], names: list[str], labels: list[str | None], side: int
) -> ParityCrops:
    """Append the extremes that pixels can take: no photograph reaches the same activations."""
    rng = np.random.default_rng(1)
    shape = (side, side, 3)
    extremes = {
        "black": np.zeros(shape, np.uint8),
        "white": np.full(shape, 255, np.uint8),
        "noise": rng.integers(0, 256, shape, dtype=np.uint8),
        "saturated": rng.choice(np.array([0, 255], np.uint8), (side // 8 + 1, side // 8 + 1, 3))
        .repeat(8, axis=0)
        .repeat(8, axis=1)[:side, :side],
    }
    return ParityCrops(
        source=source,
        crops=np.stack([*crops, *extremes.values()]),
        names=[*names, *(f"adversarial/{name}" for name in extremes)],
        labels=[*labels, *[None] * len(extremes)],
    )
