"""Prepare: images in, aligned crops and their index out, as the server would cut them."""

from __future__ import annotations

import csv
import logging
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from PIL import Image

from lnclip.detectors import Detector, load_detector
from lnclip.errors import ConfigError, ImageError
from lnclip.intake import read_image
from lnclip.preprocess import align
from lnclip.spec import PreprocessSpec
from training.faces import find_faces
from training.index import Item, Label, read_index, write_index

log = logging.getLogger(__name__)

IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm")
"""What is taken from a folder; a file named by itself is taken whatever its ending."""

LOG_EVERY_S = 10.0


class Row(NamedTuple):
    """What became of one input: a row of report.csv."""

    path: Path
    status: Literal["ok", "no_face", "error"]
    crop: str = ""
    num_faces: int = 0
    """Found; the largest was cut."""

    code: str = ""
    reason: str = ""


class Summary(NamedTuple):
    """How it went."""

    crops: Path
    """The index of crops."""

    num_crops: int
    num_no_face: int
    num_errors: int


def prepare(inputs: Sequence[Path], label: Label | None, out: Path, detector_folder: Path) -> Summary:
    """Cut the largest face of each image at its own size into ``out``/crops/NNNNNN.png.

    ``out``/index.csv lists the crops with the columns of their inputs, ``out``/report.csv every
    input and what became of it: a file without a face or that cannot be read is never just missing.

    Raises:
        ConfigError: ``out`` holds an index already, or an input is not there or has no label.
        ArtifactError: the detector is not there or damaged.
    """
    index = out / "index.csv"
    if index.exists():
        raise ConfigError(f"{index} is there already; choose another --out or remove it")
    items = gather(inputs, label)
    detector, spec = load_detector(detector_folder), PreprocessSpec()
    (out / "crops").mkdir(parents=True, exist_ok=True)

    crops, rows, last = [], [], time.monotonic()
    for number, item in enumerate(items):
        row = cut_largest(item.path, out, f"crops/{number:06d}.png", detector, spec)
        rows.append(row)
        if row.status == "ok":
            crops.append(item._replace(path=out / row.crop, kind="crop"))
        if time.monotonic() - last > LOG_EVERY_S:
            last = time.monotonic()
            log.info("%d of %d images", number + 1, len(items))
    write_index(index, crops)
    _write_report(out / "report.csv", rows)

    counts = {status: sum(row.status == status for row in rows) for status in ("no_face", "error")}
    log.info("%d crops, %d images without a face, %d unreadable: %s", len(crops), *counts.values(), out / "report.csv")
    return Summary(index, len(crops), counts["no_face"], counts["error"])


def cut_largest(path: Path, out: Path, crop: str, detector: Detector, spec: PreprocessSpec) -> Row:
    """Read one image, cut its largest face, and write it as ``out``/``crop``."""
    try:
        frame = read_image(path.read_bytes()).pixels
        faces = find_faces(frame, detector)
        if not len(faces.scores):
            return Row(path, "no_face")
        aligned = align(frame, faces.landmarks[0], spec)
    except ImageError as error:
        return Row(path, "error", code=error.code, reason=error.reason)
    except OSError as error:
        return Row(path, "error", code="unreadable", reason=str(error.strerror))
    Image.fromarray(aligned).save(out / crop, compress_level=1)
    return Row(path, "ok", crop, len(faces.scores))


def gather(inputs: Sequence[Path], label: Label | None) -> list[Item]:
    """All images that the inputs name: rows of a CSV, files, and files in folders, recursively.

    Raises:
        ConfigError: an input is not there, holds no images, or needs ``label`` and there is none.
    """
    items: list[Item] = []
    for given in inputs:
        if given.suffix.lower() == ".csv" and not given.is_dir():
            items += read_index(given, "image")
            continue
        if label is None:
            raise ConfigError(f"{given}: say what it holds with --label real or --label fake, or give a CSV index")
        folder = given if given.is_dir() else given.parent
        paths = sorted(_images(given)) if given.is_dir() else [given]
        if not given.exists():
            raise ConfigError(f"{given} is not there")
        if not paths:
            raise ConfigError(f"{given} holds no images; these endings are read: {' '.join(IMAGE_ENDINGS)}")
        items += [
            Item(path, label, str(path.relative_to(folder).with_suffix("")), folder.name, label, kind="image")
            for path in paths
        ]
    return items


def _images(folder: Path) -> Iterator[Path]:
    for parent, _, names in os.walk(folder):  # does not follow links to folders: no loops
        for name in names:
            if name.lower().endswith(IMAGE_ENDINGS):
                yield Path(parent, name)


def _write_report(path: Path, rows: Sequence[Row]) -> None:
    with path.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        writer = csv.writer(file)
        writer.writerow(Row._fields)
        writer.writerows(rows)
