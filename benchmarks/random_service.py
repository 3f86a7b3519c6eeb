"""A server on weights that nobody trained: as fast and as large as trained ones, and scores that differ."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from export.face_detector import install_mtcnn
from export.onnx_export import export_run
from export.publishing import PublishOptions, publish
from export.report import onnx_file
from export.spread import write_random_run
from lnclip.architecture import KNOWN
from lnclip.artifact import Artifact, Precision
from lnclip.contract import DETECTOR, ENCODER
from lnclip.detectors import CARD, load_detector
from lnclip.preprocess import cut_faces
from lnclip.publication import versions
from lnclip.running import RunningServer
from lnclip.spec import PreprocessSpec
from server.embedded import StartOptions, discard, start
from server.repository import has_encoder_adapter, init_repository
from training.data.demo_data import photograph_pixels
from training.data.faces import find_faces

PHOTOGRAPHS = ("astronaut", "grace_hopper")
NUM_CROPS = 16


class RandomModel(NamedTuple):
    """Random weights, from the run to what Triton serves."""

    run: Path
    export: Path
    repository: Path


def random_model(folder: Path, encoder: str, precisions: Sequence[Precision] = ("fp32",)) -> RandomModel:
    """Weights that nobody trained, exported and published in the first precision, with MTCNN beside them.

    Weights and graphs that an earlier call left are taken as they are: with ViT-L/14 they take minutes to make. After a
    change to how graphs are made, remove the folder. What serves them is brought up to date.

    Args:
        folder: to make, or made by an earlier call.
        encoder: of ``lnclip.architecture.KNOWN``.
        precisions: to export, beside those that are there; the first is served.
    """
    model = RandomModel(folder / "run", folder / "export", folder / "repository")
    detector = model.repository / DETECTOR / "1"
    if not (detector / CARD).is_file():
        install_mtcnn(model.repository)
    if not (model.run / "model.json").is_file():
        spec = KNOWN[encoder].spec
        crops = varied_crops(detector, spec)
        write_random_run(model.run, KNOWN[encoder], crops, spec=spec)
    there = [precision for precision in get_args(Precision) if (model.export / onnx_file(precision)).is_file()]
    if set(precisions) - set(there):
        export_run(model.run, model.export, list(dict.fromkeys([*there, *precisions])))  # which replaces the folder
    serve_from(model.repository, model.export, precisions[0])
    return model


def serve_from(repository: Path, export: Path, precision: Precision) -> None:
    """Bring a repository up to date: its configs and models, and what it serves.

    Args:
        repository: made if need be; no server runs on it.
        export: published into it if it serves another precision, or with another adapter than today's.
        precision: to serve.

    Raises:
        PublishError: the export lacks it, or it fails its check here.
    """
    if not (repository / DETECTOR / "1" / CARD).is_file():
        install_mtcnn(repository)
    init_repository(repository)
    if served_precision(repository) != precision or not has_encoder_adapter(repository):
        publish(export, repository, precision=precision, options=PublishOptions(run_dir=repository / ".run"))


def served_precision(repository: Path) -> Precision | None:
    """Of the newest published encoder; None where there is none."""
    published = versions(repository / ENCODER)
    if not published:
        return None
    return Artifact.load(repository / ENCODER / str(published[-1]) / "model.json").identity.precision


@contextmanager
def random_service(folder: Path, encoder: str) -> Iterator[RunningServer]:
    """Serve a ``random_model`` in FP32 on free ports; stopped on the way out.

    Args:
        folder: of the model, and of the server's own files.
        encoder: of ``lnclip.architecture.KNOWN``.
    """
    model = random_model(folder, encoder)
    server = start(StartOptions(model.repository, run_dir=folder / ".run"))
    try:
        yield server
    finally:
        discard(folder / ".run")


def varied_crops(detector_folder: Path, spec: PreprocessSpec) -> NDArray[np.uint8]:
    """(16, S, S, 3): the faces of two photographs, darker and brighter, every other one mirrored."""
    detector, rng = load_detector(detector_folder), np.random.default_rng(0)
    faces = []
    for name in PHOTOGRAPHS:
        frame = photograph_pixels(name)
        faces.append(cut_faces(frame, find_faces(frame, detector), detector.detector_id, spec).crops[0])
    toned = [
        np.clip(faces[index % 2] * rng.uniform(0.3, 1.5, 3), 0, 255).astype(np.uint8) for index in range(NUM_CROPS)
    ]
    return np.stack([crop[:, ::-1] if index % 4 < 2 else crop for index, crop in enumerate(toned)])
