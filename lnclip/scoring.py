"""From faces to an image's verdict, and what a caller may ask for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lnclip.artifact import Artifact
from lnclip.detection import DETECTORS, FaceChoice
from lnclip.errors import ConfigError, EngineError
from lnclip.spec import PreprocessSpec

Aggregate = Literal["max", "mean", "largest"]
Verdict = Literal["fake", "real", "no_face"]


class RequestParameters(BaseModel):
    """What one request may ask for; Triton hands them to every step of the ensemble."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    max_faces: int = Field(8, ge=1)
    """Largest first; the server's cap is the encoder's largest batch."""

    min_face_px: float = Field(32, ge=0, allow_inf_nan=False)
    """Shortest side of the smallest face that is scored, frame pixels."""

    detector_threshold: float | None = Field(None, ge=0, le=1)
    """Lowest detector score of a face; None is the detector's own default."""

    aggregate: Aggregate = "max"
    """How the faces' p_fake make the image's."""

    @classmethod
    def parse(cls, given: Mapping[str, object]) -> RequestParameters:
        """Read a request's parameters; those of Triton's own are passed over.

        Raises:
            ConfigError: one has a value that cannot be; the message names it.
        """
        try:
            return cls.model_validate(dict(given))
        except ValidationError as error:
            complaints = "; ".join(f"{issue['loc'][0]}: {issue['msg']}" for issue in error.errors())
            raise ConfigError(f"request parameter {complaints}") from error

    def face_choice(self, detector_id: int, cap: int) -> FaceChoice:
        """The limits for ``detection.choose_faces``."""
        threshold = self.detector_threshold
        if threshold is None:
            threshold = DETECTORS[detector_id].threshold
        return FaceChoice(min(self.max_faces, cap), self.min_face_px, threshold)


class ServedModel(BaseModel):
    """Which model answered: the ``model`` output, as JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    artifact_id: str
    """16 hex digits, as are ``spec_id``'s."""

    spec_id: str
    spec: PreprocessSpec
    precision: str
    threshold: float
    detector: str

    @classmethod
    def describe(cls, artifact: Artifact, detector_id: int) -> ServedModel:
        """What a caller is told about ``artifact``."""
        identity = artifact.identity
        return cls(
            name=artifact.provenance.name,
            artifact_id=identity.artifact_id.hex,
            spec_id=identity.spec.spec_id.hex,
            spec=identity.spec,
            precision=identity.precision,
            threshold=identity.threshold,
            detector=DETECTORS[detector_id].name,
        )


def aggregate_faces(p_fake: NDArray[np.float32], boxes: NDArray[np.float32], how: Aggregate) -> float | None:
    """One number for an image, or None when it has no face: no face is never a number.

    Args:
        p_fake: (N,) of its faces.
        boxes: (N, 4) x1, y1, x2, y2, for ``largest``.
        how: ``max`` raises the false-alarm rate with every further face; ``mean`` lets a real
            face hide a fake one; ``largest`` is the papers' rule.

    Raises:
        EngineError: a p_fake is not a probability (NaN, or outside 0..1).
    """
    if len(p_fake) == 0:
        return None
    if not bool(((p_fake >= 0) & (p_fake <= 1)).all()):  # also false for NaN
        raise EngineError(f"the encoder answered p_fake {p_fake.tolist()}: not probabilities; export it again")
    if how == "largest":
        sides = boxes[:, 2:] - boxes[:, :2]
        return float(p_fake[sides.prod(axis=1).argmax()])
    return float(p_fake.max() if how == "max" else p_fake.mean())


def verdict(p_fake: float | None, threshold: float) -> Verdict:
    """What an image is called.

    Raises:
        EngineError: the threshold is not a number.
    """
    if not math.isfinite(threshold):
        raise EngineError("the encoder's threshold is not a number; export it again")
    if p_fake is None:
        return "no_face"
    return "fake" if p_fake >= threshold else "real"
