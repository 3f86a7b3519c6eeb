"""Which face detector a model folder holds: one protocol, two detectors.

Both answer the same fixed rows in letterbox pixels; thresholds, suppression and the choice of faces
are ``lnclip.detection``'s.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Protocol

from pydantic import BaseModel, ConfigDict, ValidationError

from lnclip.detection import Candidates, Pixels
from lnclip.errors import ArtifactError
from lnclip.identity import file_sha256
from lnclip.mtcnn import Mtcnn
from lnclip.retinaface_onnx import RetinaFaceOnnx

CARD = "detector.json"

REMEDY = "python -m export face-detector mtcnn|retinaface"


class Detector(Protocol):
    """Finds candidate faces."""

    detector_id: int
    """Key of ``lnclip.detection.DETECTORS``."""

    def detect(self, letterboxes: Pixels) -> Candidates:
        """Candidates of (B, 640, 640, 3) RGB letterboxes, in letterbox pixels."""
        ...


class DetectorCard(BaseModel):
    """detector.json: which detector lies beside it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Literal["mtcnn", "retinaface"]
    version: str
    """Where the weights are from."""

    weights_sha256: dict[str, str]
    """Of the weights as they were read, by file name."""

    files: dict[str, str]
    """SHA-256 of the graphs made of them, by file name in this folder."""

    @classmethod
    def load(cls, folder: Path) -> DetectorCard:
        """Read ``folder``/detector.json.

        Raises:
            ArtifactError: it is not there, or not what this class describes.
        """
        path = folder / CARD
        try:
            return cls.model_validate_json(path.read_bytes())
        except FileNotFoundError as error:
            raise ArtifactError(f"{folder} holds no face detector: {REMEDY}") from error
        except (OSError, ValidationError) as error:
            raise ArtifactError(f"{path} is not a detector.json of this version: {error}. {REMEDY}") from error


def load_detector(folder: Path, threads: int = 1) -> Detector:
    """The detector that ``python -m export face-detector`` wrote.

    Args:
        folder: REPOSITORY/face_detector/1.
        threads: that work on one call; 1 where processes give the parallelism.

    Raises:
        ArtifactError: there is none, or a file is not the one that belongs to its detector.json.
    """
    card = DetectorCard.load(folder)
    for name, digest in card.files.items():
        try:
            is_right = file_sha256(folder / name) == digest
        except OSError as error:
            raise ArtifactError(f"{folder / name} cannot be read: {error.strerror}. {REMEDY}") from error
        if not is_right:
            raise ArtifactError(f"{folder / name} is not the file that {CARD} describes: {REMEDY}")
    return Mtcnn(folder, threads) if card.name == "mtcnn" else RetinaFaceOnnx(folder, threads)
