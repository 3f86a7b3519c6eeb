"""Ready crops: faces that were cut before go straight to the encoder, in batches.

The client brings them to the encoder's input itself, so both must hold the same spec: the encoder's
answers carry its spec id, and an answer of another spec is no score.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from concurrent.futures import Executor
from contextlib import AsyncExitStack
from types import TracebackType
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from client.answers import error_row, short_float
from client.backends.encoding import CropAnswers, CropEncoder, encode_each
from client.calling import CallError
from client.media import ms_since
from client.reading import FileFacts, ReadFile
from client.rows import Face, Row, RowError
from lnclip.errors import EngineError, ImageError, SpecError
from lnclip.identity import ContentId
from lnclip.intake import read_image
from lnclip.preprocess import fit_input
from lnclip.scoring import verdict
from lnclip.spec import PreprocessSpec


class Crop(NamedTuple):
    """One file as the encoder reads it."""

    facts: FileFacts
    pixels: NDArray[np.uint8]
    """(S, S, 3)."""

    size: tuple[int, int]
    """Width and height of the file, pixels."""

    warnings: tuple[str, ...]


class CropScorer:
    """A ``FileScorer`` of aligned face crops."""

    def __init__(self, encoder: CropEncoder, spec: PreprocessSpec | None, batch_size: int) -> None:
        """Nothing is sent before it is entered.

        Args:
            encoder: entered with it.
            spec: what the crops are brought to; None is that of the encoder's weights where it can be
                known, else the default spec at the encoder's input side.
            batch_size: crops in one call; the encoder may take fewer.
        """
        self.batch_size = batch_size
        self._encoder = encoder
        self._given_spec = spec
        self._models: dict[tuple[str, float], dict[str, JsonValue]] = {}

    async def __aenter__(self) -> Self:
        """Connect, and learn what the encoder expects; a grey crop's answer says its spec id.

        Raises:
            ServerError: no encoder answers.
            ArtifactError: without a server: none is published that can be loaded.
            SpecError: it was trained for another spec.
        """
        async with AsyncExitStack() as undo:
            encoder = await undo.enter_async_context(self._encoder)
            side = await encoder.input_px()
            self._spec = self._given_spec or encoder.spec or PreprocessSpec.model_validate({"input_px": side})
            if self._spec.input_px != side:
                raise SpecError(
                    f"the encoder at {encoder.name} reads {side} px, the spec says {self._spec.input_px}: "
                    "give --spec model.json"
                )
            answers = await encoder.encode(np.full((1, side, side, 3), 128, np.uint8))
            expected = ContentId.from_words(answers.spec_id[0])
            if expected != self._spec.spec_id:
                raise SpecError(
                    f"the encoder at {encoder.name} expects crops of spec {expected.hex}, these are brought to "
                    f"{self._spec.spec_id.hex}: give its own with --spec model.json (the one beside its weights)"
                )
            self._undo = undo.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Disconnect."""
        await self._undo.__aexit__(kind, error, traceback)

    async def score(self, files: Sequence[ReadFile], threads: Executor, started_s: float) -> list[Row]:
        """See ``FileScorer``: one call for those that can be read, the others have their rows without it."""
        in_thread = asyncio.get_running_loop().run_in_executor
        prepared = await asyncio.gather(*(in_thread(threads, self._prepare, file) for file in files))
        rows = [
            error_row(file.facts, trouble, ms_since(started_s))
            for file, trouble in zip(files, prepared, strict=True)
            if isinstance(trouble, RowError)
        ]
        crops = [crop for crop in prepared if isinstance(crop, Crop)]
        if not crops:
            return rows
        try:
            outcomes = await encode_each(self._encoder, [crop.pixels[None] for crop in crops])
        except CallError as error:
            outcomes = [error] * len(crops)
        except EngineError as error:
            trouble = RowError(code="bad_answer", message=str(error))
            outcomes = [CallError(trouble, retryable=False)] * len(crops)
        scored = zip(crops, outcomes, strict=True)
        return rows + [self._row(crop, outcome, ms_since(started_s)) for crop, outcome in scored]

    def stop_retrying(self) -> None:
        """See ``FileScorer``."""
        self._encoder.stop_retrying()

    def _prepare(self, file: ReadFile) -> Crop | RowError:
        """Decode a file and bring it to the encoder's input; computes."""
        if file.error is not None:
            return file.error
        if file.video is not None:
            file.video.discard()
            return RowError(code="not_an_image", message="a video is no face crop: score it without --crops")
        try:
            frame = read_image(file.content)
        except ImageError as error:
            return RowError(code=error.code, message=error.reason)
        height, width, _ = frame.pixels.shape
        return Crop(file.facts, fit_input(frame.pixels, self._spec), (width, height), frame.warnings)

    def _row(self, crop: Crop, outcome: CropAnswers | CallError, elapsed_ms: float) -> Row:
        if isinstance(outcome, CallError):
            return error_row(crop.facts, outcome.error, elapsed_ms)
        p_fake, threshold = short_float(outcome.p_fake[0]), short_float(outcome.threshold[0])
        expected = ContentId.from_words(outcome.spec_id[0])
        if expected != self._spec.spec_id:
            message = f"the encoder changed: it expects crops of spec {expected.hex}, not {self._spec.spec_id.hex}"
            return error_row(crop.facts, RowError(code="spec_mismatch", message=message), elapsed_ms)
        if not (0 <= p_fake <= 1 and 0 <= threshold <= 1):
            message = f"the encoder answered p_fake {p_fake}, threshold {threshold}: not probabilities"
            return error_row(crop.facts, RowError(code="bad_answer", message=message), elapsed_ms)
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
            model=self._model(ContentId.from_words(outcome.artifact_id[0]).hex, threshold),
            elapsed_ms=elapsed_ms,
        )

    def _model(self, artifact_id: str, threshold: float) -> dict[str, JsonValue]:
        """One for all rows of the same model."""
        key = (artifact_id, threshold)
        if key not in self._models:
            self._models[key] = {
                "artifact_id": artifact_id,
                "spec_id": self._spec.spec_id.hex,
                "spec": json.loads(self._spec.model_dump_json()),
                "threshold": threshold,
            }
        return self._models[key]
