"""A server on weights that nobody trained: as fast and as large as trained ones, and scores that differ."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from export.face_detector import install_mtcnn
from export.onnx_export import export_run
from export.publishing import publish
from export.spread import write_random_run
from lnclip.architecture import KNOWN
from lnclip.detectors import load_detector
from lnclip.preprocess import cut_faces
from lnclip.running import RunningServer
from lnclip.spec import PreprocessSpec
from server.embedded import StartOptions, start, stop
from server.repository import init_repository
from training.data.demo_data import photograph_pixels
from training.data.faces import find_faces

PHOTOGRAPHS = ("astronaut", "grace_hopper")
NUM_CROPS = 16


@contextmanager
def random_service(folder: Path, encoder: str) -> Iterator[RunningServer]:
    """Export and serve random weights of one architecture in FP32, with MTCNN; stopped on the way out.

    Args:
        folder: for the run, its export, the repository and the server's own files.
        encoder: of ``lnclip.architecture.KNOWN``.
    """
    repository = folder / "repository"
    init_repository(repository)
    install_mtcnn(repository)
    spec = KNOWN[encoder].spec
    crops = varied_crops(repository / "face_detector" / "1", spec)
    write_random_run(folder / "run", KNOWN[encoder], crops, spec=spec)
    export_run(folder / "run", folder / "export", ["fp32"])
    publish(folder / "export", repository)
    server = start(StartOptions(repository, run_dir=folder / ".run"))
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
