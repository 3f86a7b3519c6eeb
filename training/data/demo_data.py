"""Demo data: self-blended media made from three public-domain photographs of installed packages.

What is learnt from them is to see self-blending in these photographs. It is no deepfake detector.
"""

from __future__ import annotations

import io
import logging
from pathlib import Path
from typing import NamedTuple

import cv2
import matplotlib
import numpy as np
import skimage.data
from PIL import Image

from lnclip.detection import Pixels
from lnclip.detectors import Detector, load_detector
from lnclip.errors import ConfigError
from lnclip.geometry import native_side_px
from lnclip.index import Item, Label, write_index
from training.data.blending import TIGHT, Photograph, Recipe, draw_twins
from training.data.faces import find_faces

log = logging.getLogger(__name__)

KNOWN, HELD_OUT = ("astronaut", "grace_hopper"), ("camera",)
RECIPE = Recipe()
QUALITY = (70, 95)
"""JPEG, uniform; both twins get the same."""


class Split(NamedTuple):
    """One index of media."""

    name: str
    photographs: tuple[str, ...]
    num_pairs: int
    """Of each photograph."""


SPLITS = (Split("train", KNOWN, 200), Split("test", KNOWN, 40), Split("heldout", HELD_OUT, 30))
"""Train and test are different draws from the same two photographs; the third is in neither."""


def write_demo_data(
    out: Path, detector_folder: Path, seed: int, splits: tuple[Split, ...] = SPLITS, recipe: Recipe = RECIPE
) -> None:
    """Write ``out``/{train,test,heldout}/*.jpg with an index CSV each, and ``out``/extra.

    Raises:
        ConfigError: an index is there already, or the detector finds no face in a photograph.
        ArtifactError: the detector is not there or damaged.
    """
    for split in splits:
        if (out / f"{split.name}.csv").exists():
            raise ConfigError(f"{out / split.name}.csv is there already; choose another --out or remove {out}")
    detector = load_detector(detector_folder)
    photographs = {name: known_face(name, detector, recipe) for name in (*KNOWN, *HELD_OUT)}
    for number, split in enumerate(splits):
        (out / split.name).mkdir(parents=True, exist_ok=True)
        items: list[Item] = []
        for name in split.photographs:
            for pair in range(split.num_pairs):
                rng = np.random.default_rng([seed, number, (*KNOWN, *HELD_OUT).index(name), pair])
                items += _write_pair(out / split.name, photographs[name], pair, recipe, rng)
        write_index(out / f"{split.name}.csv", items)
        log.info("%s: %d images", out / f"{split.name}.csv", len(items))
    write_extra(out / "extra")


def photograph_pixels(name: str) -> Pixels:
    """One of the photographs, RGB.

    Source: skimage ``astronaut`` (NASA, public domain) and ``camera`` (CC0); matplotlib's
    ``grace_hopper.jpg`` (US Navy, public domain).
    """
    if name == "grace_hopper":
        with Image.open(Path(matplotlib.get_data_path(), "sample_data", "grace_hopper.jpg")) as image:
            return np.asarray(image.convert("RGB"))
    pixels = getattr(skimage.data, name)()
    return np.asarray(Image.fromarray(pixels).convert("RGB"))


def known_face(name: str, detector: Detector, recipe: Recipe) -> Photograph:
    """A photograph and its largest face, shrunk to the recipe's largest: the draws then hardly shrink it.

    Raises:
        ConfigError: no face is found.
    """
    pixels = photograph_pixels(name)
    faces = find_faces(pixels, detector)
    if not len(faces.scores):
        raise ConfigError(f"the face detector finds no face in the photograph {name}; install its networks again")
    landmarks = faces.landmarks[0]
    scale = min(1.0, recipe.face_px[1] / native_side_px(landmarks, TIGHT))
    size = (round(pixels.shape[1] * scale), round(pixels.shape[0] * scale))
    factors = np.divide(size, pixels.shape[1::-1]).astype(np.float32)
    smaller = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
    return Photograph(name, smaller, landmarks * factors)


def _write_pair(
    folder: Path, photograph: Photograph, pair: int, recipe: Recipe, rng: np.random.Generator
) -> list[Item]:
    twins = draw_twins(photograph, recipe, rng)
    quality = int(rng.integers(*QUALITY, endpoint=True))
    pair_name = f"{photograph.name}-{pair:03d}"
    items = []
    sources: dict[Label, tuple[str, Pixels]] = {
        "real": ("pristine", twins.real),
        "fake": ("self-blended", twins.fake),
    }
    for label, (source, pixels) in sources.items():
        path = folder / f"{pair_name}-{label}.jpg"
        path.write_bytes(_jpeg(pixels, quality))
        items.append(Item(path, label, path.stem, f"demo-{folder.name}", source, pair_name, "image"))
    return items


def write_extra(folder: Path) -> None:
    """What a folder of real life holds too: no face, two faces, half a file, and no image at all."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "no-face.jpg").write_bytes(_jpeg(skimage.data.coffee(), 90))
    people = [Image.fromarray(photograph_pixels(name)) for name in KNOWN]
    height = min(person.height for person in people)
    level = [np.asarray(person.resize((round(person.width * height / person.height), height))) for person in people]
    (folder / "group.jpg").write_bytes(_jpeg(np.hstack(level), 90))
    whole = _jpeg(photograph_pixels("astronaut"), 90)
    (folder / "truncated.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "text.jpg").write_text("This is a text file that is named like an image.\n", encoding="utf-8")


def _jpeg(pixels: Pixels, quality: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()
