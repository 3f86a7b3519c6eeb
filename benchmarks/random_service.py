"""A server on weights that nobody trained: as fast and as large as trained ones, and scores that differ."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from export.face_detector import install_mtcnn
from export.onnx_export import export_run
from export.publishing import PublishOptions, publish
from export.report import onnx_file
from export.spread import write_random_run
from lnclip.architecture import KNOWN
from lnclip.artifact import Precision
from lnclip.contract import DETECTOR, ENCODER
from lnclip.detectors import CARD, load_detector
from lnclip.preprocess import cut_faces
from lnclip.publication import versions
from lnclip.running import RunningServer
from lnclip.spec import PreprocessSpec
from server.embedded import StartOptions, start, stop
from server.repository import init_repository
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

    What an earlier call left in the folder is taken as it is: with ViT-L/14 it takes minutes to make.

    Args:
        folder: to make, or made by an earlier call.
        encoder: of ``lnclip.architecture.KNOWN``.
        precisions: to export; the first is served.
    """
    model = RandomModel(folder / "run", folder / "export", folder / "repository")
    detector = model.repository / DETECTOR / "1"
    if not (detector / CARD).is_file():
        install_mtcnn(model.repository)
    if not (model.run / "model.json").is_file():
        spec = KNOWN[encoder].spec
        crops = varied_crops(detector, spec)
        write_random_run(model.run, KNOWN[encoder], crops, spec=spec)
    if any(not (model.export / onnx_file(precision)).is_file() for precision in precisions):
        export_run(model.run, model.export, precisions)
    if not versions(model.repository / ENCODER):
        init_repository(model.repository)
        publish(
            model.export, model.repository, precision=precisions[0], options=PublishOptions(run_dir=folder / ".run")
        )
    return model


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
        stop(folder / ".run")


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
