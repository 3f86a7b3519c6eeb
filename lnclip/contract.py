"""The served tensors: names, types and shapes, stated once.

``model_repository/*/config.pbtxt``, the adapters and the clients follow it; tests hold them to it.
Legend: S the encoder's input side, D its embedding size, N faces in one image, H x W the frame.
Sides that vary are -1 as in Triton; "S" and "D" stand for numbers that the artifact decides.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

LETTERBOX_PX = 640
"""Side of the square that the detector sees."""

MAX_CANDIDATES = 256
"""Rows of a detector's answer; unused rows are 0."""

DataType = Literal["UINT8", "INT32", "FP32", "BYTES"]
Dim = int | Literal["S", "D"]


class TensorSpec(NamedTuple):
    """One tensor, without the batch dimension that Triton adds to batching models."""

    name: str
    dtype: DataType
    dims: tuple[Dim, ...]

    def shape(self, sizes: Mapping[str, int]) -> tuple[int, ...]:
        """Dims with S and D filled in; -1 where they vary."""
        return tuple(sizes[dim] if isinstance(dim, str) else dim for dim in self.dims)


class ModelContract(NamedTuple):
    """One served model."""

    name: str
    batching: bool
    """Whether Triton adds a batch dimension in front of every tensor."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


IMAGE = TensorSpec("image", "BYTES", (1,))
"""An encoded image file, whole."""

FRAME = TensorSpec("frame", "UINT8", (-1, -1, 3))
"""RGB, upright, full size."""

FRAME_SIZE = TensorSpec("frame_size", "INT32", (2,))
"""Width, height."""

LETTERBOX = TensorSpec("letterbox", "UINT8", (LETTERBOX_PX, LETTERBOX_PX, 3))
WARNINGS = TensorSpec("warnings", "BYTES", (-1,))

BOXES = TensorSpec("boxes", "FP32", (MAX_CANDIDATES, 4))
"""x1, y1, x2, y2 in letterbox pixels, best score first."""

SCORES = TensorSpec("scores", "FP32", (MAX_CANDIDATES,))
LANDMARKS = TensorSpec("landmarks", "FP32", (MAX_CANDIDATES, 10))
"""Five x, y pairs in the order of ``PreprocessSpec.template``."""

DETECTOR_ID = TensorSpec("detector_id", "INT32", (1,))

CROPS = TensorSpec("crops", "UINT8", ("S", "S", 3))
FACE_BOX = TensorSpec("face_box", "FP32", (-1, 4))
FACE_LANDMARKS = TensorSpec("face_landmarks", "FP32", (-1, 5, 2))
FACE_SCORE = TensorSpec("face_score", "FP32", (-1,))
FACE_FLAGS = TensorSpec("face_flags", "BYTES", (-1,))
"""Words separated by a space: small, blurred, touches_border, low_score."""

NUM_FACES = TensorSpec("num_faces", "INT32", (1,))
ALIGNER_SPEC_ID = TensorSpec("aligner_spec_id", "INT32", (2,))

P_FAKE = TensorSpec("p_fake", "FP32", (1,))
THRESHOLD = TensorSpec("threshold", "FP32", (1,))
ARTIFACT_ID = TensorSpec("artifact_id", "INT32", (2,))
SPEC_ID = TensorSpec("spec_id", "INT32", (2,))
EMBEDDING = TensorSpec("embedding", "FP32", ("D",))
"""Unit length."""

VERDICT = TensorSpec("verdict", "BYTES", (1,))
"""fake, real or no_face."""

IMAGE_P_FAKE = TensorSpec("p_fake", "FP32", (-1,))
"""One number, or none when there is no face."""

FACE_P_FAKE = TensorSpec("face_p_fake", "FP32", (-1,))
MODEL = TensorSpec("model", "BYTES", (1,))
"""JSON of ``scoring.ServedModel``."""


def _batched(spec: TensorSpec, batch: int = -1) -> TensorSpec:
    """As a non-batching model sees a batching model's tensor: the batch is a dimension of its own."""
    return TensorSpec(spec.name, spec.dtype, (batch, *spec.dims))


ENCODER_OUTPUTS = (P_FAKE, THRESHOLD, ARTIFACT_ID, SPEC_ID, EMBEDDING)
FACES = (FACE_BOX, FACE_LANDMARKS, FACE_SCORE, FACE_FLAGS)

CONTRACT = {
    model.name: model
    for model in (
        ModelContract(
            "image_decoder",
            False,
            (IMAGE,),
            (FRAME, FRAME_SIZE, _batched(LETTERBOX, 1), WARNINGS),
        ),
        ModelContract("face_detector", True, (LETTERBOX,), (BOXES, SCORES, LANDMARKS, DETECTOR_ID)),
        ModelContract(
            "face_aligner",
            False,
            (FRAME, *map(_batched, (BOXES, SCORES, LANDMARKS, DETECTOR_ID))),
            (_batched(CROPS), *FACES, NUM_FACES, ALIGNER_SPEC_ID),
        ),
        ModelContract("face_encoder", True, (CROPS,), ENCODER_OUTPUTS),
        ModelContract(
            "face_verdict",
            False,
            (
                *map(_batched, (P_FAKE, THRESHOLD, ARTIFACT_ID, SPEC_ID)),
                NUM_FACES,
                FACE_BOX,
                ALIGNER_SPEC_ID,
                _batched(DETECTOR_ID),
            ),
            (VERDICT, IMAGE_P_FAKE, FACE_P_FAKE, MODEL),
        ),
        ModelContract(
            "deepfake_detector",
            False,
            (IMAGE,),
            (VERDICT, IMAGE_P_FAKE, FACE_P_FAKE, *FACES, FRAME_SIZE, WARNINGS, MODEL),
        ),
    )
}
"""By name. ``deepfake_detector`` is the ensemble of the others."""

ENSEMBLE = "deepfake_detector"
ENCODER = "face_encoder"
DETECTOR = "face_detector"
