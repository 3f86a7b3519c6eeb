"""Two calls for an image: the server detects and encodes, all else is computed here.

Frames stay on this machine: a letterbox (1.2 MB) and the crops (150 kB each) travel, and the crops
of concurrent images go to the encoder in common requests. Which model answers is asked of the
ensemble, once for each artifact; when the weights change under way, so does what is cut for them.
"""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from functools import partial
from types import TracebackType
from typing import Self

import numpy as np
from tritonclient.grpc import InferInput

from client.answers import ImageAnswer
from client.backends.batching import Batching
from client.backends.encoding import CropAnswers, ServedCropEncoder, encode_each, internal_error, read_tensor
from client.backends.ensemble import scaled
from client.backends.faces import CutImage, Cutting, DecodedImage, Found, cut, decode, judge
from client.backends.served_models import ServedModels
from client.calling import CallError, Parameters
from client.servers import Servers
from lnclip.contract import BOXES, DETECTOR, DETECTOR_ID, ENSEMBLE, LANDMARKS, LETTERBOX, SCORES
from lnclip.detection import DETECTORS, Candidates
from lnclip.errors import EngineError, ServerError
from lnclip.identity import ContentId
from lnclip.intake import MAX_PIXELS
from lnclip.scoring import RequestParameters, ServedModel
from lnclip.spec import PreprocessSpec

DETECTOR_OUTPUTS = tuple(tensor.name for tensor in (BOXES, SCORES, LANDMARKS, DETECTOR_ID))

MAX_FACES_CAP = 64
"""As ``model_repository/face_aligner/config.pbtxt`` has it; a test holds it to that."""

CALLS_PER_SERVER = 2
"""To the encoder at once: while one is computed the next is on its way."""

CUTS = 3
"""Of one image: again when the weights have changed since."""


class TwoCallBackend:
    """``face_detector`` and ``face_encoder`` on one server or several. A ``Backend``."""

    def __init__(self, servers: Servers, parameters: Parameters, batch_size: int) -> None:
        """Nothing is sent before it is entered.

        Args:
            servers: entered with it.
            parameters: those that are to differ from the server's defaults.
            batch_size: crops in one request to the encoder.
        """
        self._servers = servers
        self._parameters = parameters
        self._encoder = ServedCropEncoder(servers)
        self._models = ServedModels(servers)
        calls = CALLS_PER_SERVER * len(servers.urls)
        self._batching = Batching(partial(encode_each, self._encoder), batch_size, calls)

    async def __aenter__(self) -> Self:
        """Connect, and ask which model answers.

        Raises:
            ServerError: no server can be reached that serves the models, or it cannot say.
        """
        async with AsyncExitStack() as undo:
            await undo.enter_async_context(self._encoder)
            await self._servers.check_ready(ENSEMBLE)
            try:
                self._current = await self._models.ask()
            except EngineError as error:
                raise ServerError(f"{ENSEMBLE} at {self._encoder.name}: {error}") from error
            self._threads = ThreadPoolExecutor(len(os.sched_getaffinity(0)), "faces")
            undo.callback(self._threads.shutdown, wait=False, cancel_futures=True)
            self._undo = undo.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Disconnect."""
        await self._undo.__aexit__(kind, error, traceback)

    async def answer(self, image: bytes, *, scale: float = 1.0) -> ImageAnswer:
        """See ``Backend``."""
        in_thread = asyncio.get_running_loop().run_in_executor
        wanted = RequestParameters.parse(scaled(self._parameters, scale))
        decoded = await in_thread(self._threads, decode, image, MAX_PIXELS)
        found = await self._detect(decoded)
        for _ in range(CUTS):
            cut_for = self._current
            how = Cutting(wanted, MAX_FACES_CAP, cut_for.served.spec)
            image_cut = await in_thread(self._threads, cut, decoded.frame, found, how)
            if image_cut.num_faces == 0:
                return judge(image_cut, _no_answers(cut_for.served), wanted.aggregate, cut_for.model)
            answers = await self._encode(image_cut, how.spec)
            if answers is None:
                continue
            by = await self._models.find(
                ContentId.from_words(answers.artifact_id[0]).hex, DETECTORS[found.detector_id].name
            )
            self._current = by
            if by.served.spec == how.spec:
                return judge(image_cut, answers, wanted.aggregate, by.model)
        raise internal_error("the encoder changed again and again while this image was cut for it")

    def stop_retrying(self) -> None:
        """See ``Backend``."""
        self._servers.stop_retrying()

    async def _detect(self, decoded: DecodedImage) -> Found:
        square = decoded.letterbox
        tensor = InferInput(LETTERBOX.name, list(square.shape), LETTERBOX.dtype).set_data_from_numpy(square)
        result = await self._servers.infer(DETECTOR, [tensor], outputs=DETECTOR_OUTPUTS)
        boxes, scores, landmarks = (read_tensor(result, spec, 1, np.float32) for spec in (BOXES, SCORES, LANDMARKS))
        [[detector_id]] = read_tensor(result, DETECTOR_ID, 1, np.int32).tolist()
        if detector_id not in DETECTORS:
            raise EngineError(f"{DETECTOR_ID.name} is {detector_id}: no detector of this version")
        return Found(Candidates(boxes, scores, landmarks), detector_id)

    async def _encode(self, image: CutImage, cut_for: PreprocessSpec) -> CropAnswers | None:
        """The answers of one model for these crops; None when it changed under way, and they are to be cut again."""
        try:
            answers = await self._batching.encode(image.faces.crops)
        except CallError as error:
            # Crops of another side than the encoder's, which a restarted server may have, are refused.
            if error.error.code != "invalid_argument":
                raise
            if self._current.served.spec == cut_for:
                self._current = await self._models.ask()
            if self._current.served.spec == cut_for:
                raise
            return None
        # A batch may have been sent in two, with a reload between them.
        return answers if (answers.artifact_id == answers.artifact_id[0]).all() else None


def _no_answers(model: ServedModel) -> CropAnswers:
    """For an image without faces, whose verdict asks for a threshold all the same."""
    words = np.zeros((1, 2), np.int32)
    return CropAnswers(np.zeros(1, np.float32), np.full(1, model.threshold, np.float32), words, words)
