"""The ensemble's own steps, computed here: what ``model_repository``'s adapters do, by the same functions.

Errors have the codes and messages that a row of the server's answer would have.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from pydantic import JsonValue

from client.answers import ImageAnswer, short_float
from client.backends.encoding import CropAnswers, internal_error
from client.calling import CallError
from client.rows import Face, RowError
from lnclip.detection import Candidates, Pixels, choose_faces
from lnclip.detection import letterbox as fit_letterbox
from lnclip.errors import EngineError, ImageError
from lnclip.intake import Frame, read_image
from lnclip.preprocess import Faces, cut_faces
from lnclip.scoring import Aggregate, RequestParameters, aggregate_faces, verdict
from lnclip.spec import PreprocessSpec

Model = dict[str, JsonValue]
"""The ensemble's ``model`` output."""


class DecodedImage(NamedTuple):
    """What ``image_decoder`` answers."""

    frame: Frame
    letterbox: Pixels
    """(1, 640, 640, 3) RGB."""


class Found(NamedTuple):
    """What ``face_detector`` answers of one image."""

    candidates: Candidates
    detector_id: int


class Cutting(NamedTuple):
    """How faces are chosen and cut."""

    wanted: RequestParameters
    max_faces_cap: int
    spec: PreprocessSpec


class CutImage(NamedTuple):
    """What ``face_aligner`` answers, with what the row says of the image."""

    faces: Faces
    width: int
    height: int
    warnings: tuple[str, ...]

    @property
    def num_faces(self) -> int:
        """Of those that are scored."""
        return len(self.faces.flags)


def decode(image: bytes, max_pixels: int) -> DecodedImage:
    """A file's bytes as the detector sees them; computes.

    Raises:
        CallError: it cannot be read.
    """
    try:
        frame = read_image(image, max_pixels)
    except ImageError as error:
        raise _refusal(error) from error
    return DecodedImage(frame, fit_letterbox(frame.pixels)[None])


def cut(frame: Frame, found: Found, how: Cutting) -> CutImage:
    """The faces of one image as the encoder reads them; computes.

    Raises:
        CallError: a face cannot be cut, or the detector answered what is no number.
    """
    if not all(np.isfinite(values).all() for values in found.candidates):
        raise internal_error("the detector answered what is no number: install it again")
    height, width = frame.pixels.shape[:2]
    choice = how.wanted.face_choice(found.detector_id, how.max_faces_cap)
    detections = choose_faces(found.candidates, (width, height), choice)
    try:
        faces = cut_faces(frame.pixels, detections, found.detector_id, how.spec)
    except ImageError as error:
        raise _refusal(error) from error
    return CutImage(faces, width, height, frame.warnings)


def judge(image: CutImage, answers: CropAnswers, how: Aggregate, model: Model) -> ImageAnswer:
    """An image's verdict.

    Args:
        image: with its N faces.
        answers: for its crops; of an image without faces for any crop: only the threshold is read.
        how: from faces to the image.
        model: that answered.

    Raises:
        CallError: what the encoder answered is no probability.
    """
    detections, flags = image.faces.detections, image.faces.flags
    face_p_fake = answers.p_fake[: image.num_faces]
    try:
        p_fake = aggregate_faces(face_p_fake, detections.boxes, how)
        word = verdict(p_fake, float(answers.threshold[0]))
    except EngineError as error:
        raise internal_error(str(error)) from error
    return ImageAnswer(
        verdict=word,
        p_fake=None if p_fake is None else short_float(np.float32(p_fake)),
        faces=tuple(
            Face.model_validate(
                {
                    "box": [short_float(edge) for edge in box],
                    "landmarks": [[short_float(x), short_float(y)] for x, y in points],
                    "score": short_float(score),
                    "p_fake": short_float(p),
                    "flags": words.split(),
                }
            )
            for box, points, score, p, words in zip(*detections, face_p_fake, flags, strict=True)
        ),
        width=image.width,
        height=image.height,
        warnings=image.warnings,
        model=model,
    )


def _refusal(error: ImageError) -> CallError:
    return CallError(RowError(code=error.code, message=error.reason), retryable=False)
