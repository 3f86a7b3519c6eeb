"""The face detector's model folder: graphs and detector.json into REPOSITORY/face_detector/1."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path

from lnclip.detectors import CARD, DetectorCard
from lnclip.identity import file_sha256

log = logging.getLogger(__name__)

FOLDER = Path("face_detector") / "1"


def install_mtcnn(repository: Path) -> None:
    """Make MTCNN the repository's detector.

    Raises:
        SetupError: facenet-pytorch, which has its weights, is not installed.
        ArtifactError: its weights are not those that were checked.
    """
    from export.mtcnn_export import PACKAGE, WEIGHTS_SHA256, write_mtcnn

    with _staging(repository) as staging:
        files = {name: file_sha256(Path(staging) / name) for name in write_mtcnn(Path(staging))}
        weights = {f"{name}.pt": digest for name, digest in WEIGHTS_SHA256.items()}
        card = DetectorCard(name="mtcnn", version=PACKAGE, weights_sha256=weights, files=files)
        _install(card, Path(staging), repository / FOLDER)


def install_retinaface(weights: Path | None, repository: Path, *, with_plan: bool = False) -> None:
    """Make RetinaFace ResNet-50 the repository's detector.

    Args:
        weights: .pth, .zip or .safetensors; None downloads the published ones.
        repository: the served one.
        with_plan: also build what the production config loads, for the GPU here.

    Raises:
        SetupError: the download failed; or a plan is wanted, and there is no tensorrt or no GPU.
        ArtifactError: the weights are not retinaface-pytorch's.
    """
    from export.detector_plan import PlanTarget, write_plan
    from export.retinaface_export import VERSION, write_retinaface
    from export.retinaface_weights import load_weights

    target = PlanTarget.here() if with_plan else None
    given = load_weights(weights)
    with _staging(repository) as staging:
        names = write_retinaface(given.tensors, Path(staging))
        if target is not None:
            names += write_plan(Path(staging), target)
        files = {name: file_sha256(Path(staging) / name) for name in names}
        card = DetectorCard(name="retinaface", version=VERSION, weights_sha256={given.name: given.sha256}, files=files)
        _install(card, Path(staging), repository / FOLDER)


def _staging(repository: Path) -> tempfile.TemporaryDirectory[str]:
    """A folder on the repository's own disk, whose files can be moved in one step."""
    repository.mkdir(parents=True, exist_ok=True)
    return tempfile.TemporaryDirectory(prefix=".face_detector.", dir=repository)


def _install(card: DetectorCard, staging: Path, folder: Path) -> None:
    """Replace the detector in ``folder``; what else lies there stays.

    Cut off half-way, it leaves a folder without detector.json, which is refused by name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CARD).unlink(missing_ok=True)
    for old in (*folder.glob("*.onnx"), *folder.glob("*.plan*")):
        old.unlink()
    for name in card.files:
        (staging / name).replace(folder / name)
    (staging / CARD).write_text(card.model_dump_json(indent=2) + "\n", encoding="utf-8")
    (staging / CARD).replace(folder / CARD)
    log.info("%s (%s) is in %s", card.name, card.version, folder)
