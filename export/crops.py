"""The crops over which an exported graph is compared with its reference, and an INT8 one calibrated.

Crops of the user's own, from an index; or, where none are given, those of ``demo_crops``. Four
adversarial ones come with either. Legend: N crops, S their side.
"""

from __future__ import annotations

import csv
import importlib.util
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from lnclip.detection import Detections
from lnclip.errors import ConfigError, ImageError, SetupError
from lnclip.intake import read_image
from lnclip.preprocess import cut_faces, fit_input
from lnclip.spec import PreprocessSpec

Crops = NDArray[np.uint8]

NUM_FACES, NUM_TEXTURES = 48, 16
"""Of the demo's crops."""

NUM_COMPARED = 1200
"""Crops of an index that engines are compared on, at most: enough for the AUROC to be judged (``ranking``), and with
ViT-L/14 a crop takes seconds of a processor in each of three engines."""

NUM_CALIBRATION = 300
"""Crops that INT8 is calibrated on. Source: NNCF's default subset size."""

FACES: dict[tuple[str, str], list[tuple[int, int]]] = {
    ("skimage", "data/astronaut.png"): [(206, 101), (245, 100), (229, 122), (207, 137), (248, 136)],
    ("matplotlib", "mpl-data/sample_data/grace_hopper.jpg"): [
        (226, 205),
        (309, 209),
        (263, 258),
        (225, 291),
        (299, 295),
    ],
}
"""Photographs in the public domain (NASA, US Navy) that installed packages ship, and where in them
the spec's five points of the face are, read off by eye."""

NUM_WAVES = 4
"""Plane waves in a texture."""


@dataclass(frozen=True, kw_only=True)
class ParityCrops:
    """N crops, and what is known of them."""

    source: str
    """Where they come from: "demo", or the index's path and, where not all were read, how many of how many."""

    crops: Crops
    """(N, S, S, 3) RGB."""

    names: list[str]
    """N, for the report."""

    labels: list[str | None]
    """N of "real", "fake" or None."""

    num_adversarial: int = 0
    """The last ones: extremes, which no range of INT8 should be stretched to."""

    def calibration(self) -> Crops:
        """At most ``NUM_CALIBRATION``, taken evenly from those that are not adversarial."""
        count = len(self.crops) - self.num_adversarial
        rows = np.linspace(0, count - 1, min(count, NUM_CALIBRATION)).round().astype(int)
        return np.asarray(self.crops[rows])


def read_crops(index: Path, spec: PreprocessSpec) -> ParityCrops:
    """Aligned crops of an index, fitted to the network's input, and the adversarial ones.

    Of more than ``NUM_COMPARED`` rows so many are read, always the same: see ``_chosen``.

    Args:
        index: CSV with path (relative to it), label, and optionally kind.
        spec: S and the resize filter.

    Raises:
        ConfigError: the index or a crop that is read cannot be used.
    """
    rows = _read_rows(index)
    chosen = _chosen([row["label"] for row in rows])
    source = str(index) if len(chosen) == len(rows) else f"{index}: {len(chosen)} of {len(rows)}"
    crops, names = [], []
    labels: list[str | None] = []
    for row in (rows[number] for number in chosen):
        try:
            frame = read_image((index.parent / row["path"]).read_bytes())
        except (OSError, ImageError) as error:
            raise ConfigError(f"{index}: {row['path']} cannot be read: {error}") from error
        crops.append(fit_input(frame.pixels, spec))
        names.append(row["path"])
        labels.append(row["label"])
    return _with_adversarial(source, crops, names, labels, spec.input_px)


def _read_rows(index: Path) -> list[dict[str, str]]:
    """All rows of an index, none of its files.

    Raises:
        ConfigError: it cannot be read, or a row is no labelled crop.
    """
    try:
        with index.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{index} cannot be read: {error}") from error
    if not rows or not {"path", "label"} <= rows[0].keys():
        raise ConfigError(f"{index} must be a CSV with the columns path,label and at least one row")
    for row in rows:
        if row.get("kind", "crop") not in ("crop", ""):
            raise ConfigError(
                f"{index}: {row['path']} is a {row['kind']}, parity needs crops: python -m training prepare"
            )
        if row["label"] not in ("real", "fake"):
            raise ConfigError(f"{index}: the label of {row['path']} is {row['label']!r}, must be real or fake")
    return rows


def _chosen(labels: list[str]) -> list[int]:
    """At most ``NUM_COMPARED`` rows in their order, evenly from those of each label, both in proportion."""
    if len(labels) <= NUM_COMPARED:
        return list(range(len(labels)))
    is_fake = np.array([label == "fake" for label in labels])
    num_fake = round(NUM_COMPARED * is_fake.mean())
    if 0 < is_fake.sum() < len(labels):
        num_fake = min(max(num_fake, 1), NUM_COMPARED - 1)
    chosen: list[int] = []
    for rows, count in ((np.flatnonzero(is_fake), num_fake), (np.flatnonzero(~is_fake), NUM_COMPARED - num_fake)):
        chosen += rows[np.linspace(0, len(rows) - 1, count).round().astype(int)].tolist()
    return sorted(chosen)


def demo_crops(spec: PreprocessSpec, *, seed: int = 0) -> ParityCrops:
    """Two known faces, moved, mirrored, toned and blurred, and textures of many colours and frequencies.

    Raises:
        SetupError: a package that ships a photograph is not installed.
    """
    rng = np.random.default_rng(seed)
    photographs = [(_photograph(*place), points) for place, points in FACES.items()]
    crops = [_face(rng, *photographs[number % len(photographs)], spec) for number in range(NUM_FACES)]
    crops += [_texture(rng, spec.input_px) for _ in range(NUM_TEXTURES)]
    names = [f"demo/{number:02d}" for number in range(len(crops))]
    return _with_adversarial("demo", crops, names, [None] * len(crops), spec.input_px)


def _photograph(package: str, path: str) -> Crops:
    """An image file of an installed package, RGB; the package is not imported."""
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        raise SetupError(f"{package} is not installed, and the demo's crops need its {path}: make setup")
    return read_image((Path(found.origin).parent / path).read_bytes()).pixels


def _face(rng: np.random.Generator, frame_HWC: Crops, points: list[tuple[int, int]], spec: PreprocessSpec) -> Crops:
    """One aligned crop, its landmarks off by some pixels as a detector's are, of another camera and light."""
    moved = (np.array(points) + rng.normal(0, 4, (len(points), 2))).astype(np.float32)
    face = Detections(np.zeros((1, 4), np.float32), moved[None], np.ones(1, np.float32))
    [crop] = cut_faces(frame_HWC, face, 0, spec).crops
    crop = cv2.GaussianBlur(crop, (0, 0), rng.uniform(0.1, 2.5))
    toned = 255 * (crop / 255 * rng.uniform(0.4, 1.3, 3)) ** rng.uniform(0.6, 1.6) + rng.normal(0, 4, crop.shape)
    pixels = np.asarray(toned.clip(0, 255).round(), np.uint8)
    return np.ascontiguousarray(pixels[:, ::-1]) if rng.random() < 0.5 else pixels


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
        num_adversarial=len(extremes),
    )
