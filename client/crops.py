"""Ready crops: faces that were cut before go straight to the encoder, in batches.

The client brings them to the encoder's input itself, so both must hold the same spec: the encoder's
answers carry its spec id, and an answer of another spec is no score.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue
from tritonclient.grpc import InferInput

from client.answers import error_row, short_float
from client.calling import CallError, Triton
from client.reading import FileFacts, ReadFile
from client.rows import Face, Row, RowError
from lnclip.contract import ARTIFACT_ID, CROPS, ENCODER, P_FAKE, SPEC_ID, THRESHOLD
from lnclip.errors import ImageError, ServerError, SpecError
from lnclip.identity import ContentId
from lnclip.intake import read_image
from lnclip.preprocess import fit_input
from lnclip.scoring import verdict
from lnclip.spec import PreprocessSpec

OUTPUTS = tuple(tensor.name for tensor in (P_FAKE, THRESHOLD, ARTIFACT_ID, SPEC_ID))


class Crop(NamedTuple):
    """One file as the encoder reads it."""

    facts: FileFacts
    pixels: NDArray[np.uint8]
    """(S, S, 3)."""

    size: tuple[int, int]
    """Width and height of the file, pixels."""

    warnings: tuple[str, ...]


class CropAnswers(NamedTuple):
    """What the encoder says of B crops."""

    p_fake: NDArray[np.float32]
    """(B,), as ``threshold``."""

    threshold: NDArray[np.float32]
    artifact_id: NDArray[np.int32]
    """(B, 2), as ``spec_id``."""

    spec_id: NDArray[np.int32]


class CropEncoder:
    """The served encoder, with the spec that crops are brought to."""

    def __init__(self, triton: Triton, spec: PreprocessSpec, batch_size: int) -> None:
        """``batch_size``: most crops in one request, as far as is known."""
        self.triton = triton
        self.spec = spec
        self.batch_size = batch_size

    @classmethod
    async def connect(cls, triton: Triton, spec: PreprocessSpec | None, batch_size: int) -> CropEncoder:
        """Ask the encoder for its input and send it one grey crop to learn its spec id.

        Args:
            triton: entered.
            spec: what the crops are brought to; None is the default at the encoder's input side.
            batch_size: most crops in one request; fewer when the encoder takes fewer.

        Raises:
            ServerError: no encoder answers.
            SpecError: it was trained for another spec.
        """
        await triton.check_ready(ENCODER)
        shape = await triton.input_shape(ENCODER)
        if len(shape) != 4:
            raise ServerError(f"{ENCODER} at {triton.url} reads {shape}, not (B, S, S, 3): it is not of this project")
        side = shape[1]
        encoder = cls(triton, spec or PreprocessSpec.model_validate({"input_px": side}), batch_size)
        if encoder.spec.input_px != side:
            raise SpecError(f"{ENCODER} reads {side} px, the spec says {encoder.spec.input_px}: give --spec model.json")
        answers = await encoder.encode(np.full((1, side, side, 3), 128, np.uint8))
        served = ContentId.from_words(answers.spec_id[0])
        if served != encoder.spec.spec_id:
            raise SpecError(
                f"the encoder at {triton.url} expects crops of spec {served.hex}, these are brought to "
                f"{encoder.spec.spec_id.hex}: give its own with --spec model.json (the one beside its weights)"
            )
        return encoder

    async def encode(self, crops_NHWC: NDArray[np.uint8]) -> CropAnswers:
        """One request, or several when the encoder takes smaller batches: it says so, and that is kept.

        Args:
            crops_NHWC: (B, S, S, 3).

        Raises:
            CallError: no answer.
        """
        size = self.batch_size
        if len(crops_NHWC) > size:
            parts = [await self.encode(crops_NHWC[start : start + size]) for start in range(0, len(crops_NHWC), size)]
            return CropAnswers(*map(np.concatenate, zip(*parts, strict=True)))
        try:
            return await self._request(crops_NHWC)
        except CallError as error:
            limit = re.search(r"batch-size must be <= (\d+)", error.error.message)
            if limit is None or not 0 < int(limit[1]) < len(crops_NHWC):
                raise
        self.batch_size = int(limit[1])
        return await self.encode(crops_NHWC)

    async def _request(self, crops_NHWC: NDArray[np.uint8]) -> CropAnswers:
        tensor = InferInput(CROPS.name, list(crops_NHWC.shape), CROPS.dtype).set_data_from_numpy(crops_NHWC)
        result = await self.triton.infer(ENCODER, [tensor], outputs=OUTPUTS)
        p_fake, threshold, artifact_id, spec_id = (result.as_numpy(name) for name in OUTPUTS)
        return CropAnswers(p_fake.reshape(-1), threshold.reshape(-1), artifact_id, spec_id)

    def prepare(self, file: ReadFile) -> Crop | RowError:
        """Decode a file and bring it to the encoder's input; blocking, computes."""
        if file.error is not None:
            return file.error
        try:
            frame = read_image(file.content)
        except ImageError as error:
            return RowError(code=error.code, message=error.reason)
        height, width, _ = frame.pixels.shape
        return Crop(file.facts, fit_input(frame.pixels, self.spec), (width, height), frame.warnings)

    def row(self, crop: Crop, answers: CropAnswers, index: int, elapsed_ms: float) -> Row:
        """The row of one crop of a batch."""
        p_fake, threshold = short_float(answers.p_fake[index]), short_float(answers.threshold[index])
        served = ContentId.from_words(answers.spec_id[index])
        if served != self.spec.spec_id:
            message = f"the encoder changed: it expects crops of spec {served.hex}, not {self.spec.spec_id.hex}"
            return error_row(crop.facts, RowError(code="spec_mismatch", message=message), elapsed_ms)
        if not (0 <= p_fake <= 1 and 0 <= threshold <= 1):
            message = f"the encoder answered p_fake {p_fake}, threshold {threshold}: not probabilities"
            return error_row(crop.facts, RowError(code="bad_answer", message=message), elapsed_ms)
        model: dict[str, JsonValue] = {
            "artifact_id": ContentId.from_words(answers.artifact_id[index]).hex,
            "spec_id": served.hex,
            "spec": json.loads(self.spec.model_dump_json()),
            "threshold": threshold,
        }
        return Row(
            **crop.facts._asdict(),
            status="ok",
            verdict=verdict(p_fake, threshold),
            p_fake=p_fake,
            num_faces=1,
            faces=(Face(box=None, landmarks=None, score=None, p_fake=p_fake),),
            width=crop.size[0],
            height=crop.size[1],
            warnings=crop.warnings,
            error=None,
            model=model,
            elapsed_ms=elapsed_ms,
        )


def stack(crops: Sequence[Crop]) -> NDArray[np.uint8]:
    """(B, S, S, 3)."""
    return np.stack([crop.pixels for crop in crops])
