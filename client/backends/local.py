"""No server: the published models in this process, read from the repository that Triton would serve.

One encoder owns the cores; decoding, detection and cutting share a pool of threads with the size of
the machine. What is held in memory grows with the images in flight alone.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, ExitStack
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import ParamSpec, Self, TypeVar

import numpy as np

from client.answers import ImageAnswer
from client.backends.batching import Batching
from client.backends.encoding import CropAnswers, Crops, encode_each, internal_error
from client.backends.ensemble import scaled
from client.backends.faces import CutImage, Cutting, Found, Model, cut, decode, judge
from client.backends.repository import ALIGNER, DECODER, aligner_spec, published_version, read_parameter
from client.calling import Parameters
from lnclip.artifact import Artifact
from lnclip.contract import DETECTOR
from lnclip.detectors import load_detector
from lnclip.engines import EncoderAnswer, OpenVinoRunner, finite_rows
from lnclip.errors import ArtifactError
from lnclip.identity import ContentId
from lnclip.scoring import RequestParameters, ServedModel
from lnclip.spec import PreprocessSpec

P = ParamSpec("P")
T = TypeVar("T")


class LocalCropEncoder:
    """The newest published encoder, by OpenVINO on all cores, one call at a time. A ``CropEncoder``."""

    def __init__(self, repository: Path) -> None:
        """``repository``: as ``python -m export publish`` made it. Nothing is loaded before it is entered."""
        self._repository = repository
        self.spec: PreprocessSpec | None = None

    @property
    def name(self) -> str:
        """See ``CropEncoder``."""
        return str(self._repository)

    async def __aenter__(self) -> Self:
        """Load and try the graph.

        Raises:
            ArtifactError: none is published for CPUs, or it does not fit its model.json.
            SetupError: this processor does not have its precision.
        """
        with ExitStack() as undo:
            self._thread = ThreadPoolExecutor(1, "encoder")
            undo.callback(self._thread.shutdown, wait=False)
            await self._in_thread(self._load)
            undo.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Free the engine, when the call that runs has ended."""
        await self._in_thread(self._runner.__exit__, kind, error, traceback)
        self._thread.shutdown(wait=False)

    async def input_px(self) -> int:
        """See ``CropEncoder``."""
        return self.artifact.identity.spec.input_px

    async def encode(self, crops_NHWC: Crops) -> CropAnswers:
        """See ``CropEncoder``."""
        return _checked(await self._in_thread(self._runner.run, crops_NHWC))

    @property
    def without_faces(self) -> CropAnswers:
        """The answer for a black crop, which is what the server asks of an image without a face.

        Raises:
            CallError: it is no number.
        """
        return _checked(self._black)

    def stop_retrying(self) -> None:
        """Nothing is tried again here."""

    def _load(self) -> None:
        version = published_version(self._repository)
        self.artifact = Artifact.load(version / "model.json")
        identity = self.artifact.identity
        self.spec = identity.spec
        runner = OpenVinoRunner(version / "model.onnx", identity.precision)
        self._runner = runner.__enter__()
        side = identity.spec.input_px
        self._black = runner.run(np.zeros((1, side, side, 3), np.uint8))
        answers_for = ContentId.from_words(self._black.artifact_id[0])
        if answers_for != identity.artifact_id:
            raise ArtifactError(
                f"{version / 'model.onnx'} answers for artifact {answers_for.hex}, its model.json describes "
                f"{identity.artifact_id.hex}: publish it again"
            )

    def _in_thread(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> asyncio.Future[T]:
        return asyncio.get_running_loop().run_in_executor(self._thread, partial(call, *args, **kwargs))


class LocalBackend:
    """Every step of ``deepfake_detector`` in this process. A ``Backend``."""

    def __init__(self, repository: Path, parameters: Parameters) -> None:
        """Nothing is loaded before it is entered.

        Args:
            repository: as ``python -m export publish`` made it.
            parameters: those that are to differ from the server's defaults.
        """
        self._repository = repository
        self._parameters = parameters
        self._encoder = LocalCropEncoder(repository)

    async def __aenter__(self) -> Self:
        """Load detector and encoder.

        Raises:
            ArtifactError: one is missing or damaged; the message says what makes it.
            SpecError: crops are cut for another preprocessing than the encoder's.
            SetupError: this processor does not have the encoder's precision.
        """
        published_version(self._repository)  # what most often lacks is said before anything is loaded
        self._detector = await asyncio.to_thread(load_detector, self._repository / DETECTOR / "1")
        self._max_pixels = int(float(read_parameter(self._repository, DECODER, "max_megapixels")) * 1_000_000)
        self._max_faces_cap = int(read_parameter(self._repository, ALIGNER, "max_faces_cap"))
        async with AsyncExitStack() as undo:
            await undo.enter_async_context(self._encoder)
            artifact = self._encoder.artifact
            self._spec = aligner_spec(self._repository, artifact)
            self._model: Model = json.loads(
                ServedModel.describe(artifact, self._detector.detector_id).model_dump_json()
            )
            self._batching = Batching(partial(encode_each, self._encoder), self._max_faces_cap, calls=1)
            self._threads = ThreadPoolExecutor(len(os.sched_getaffinity(0)), "faces")
            undo.callback(self._threads.shutdown, wait=False, cancel_futures=True)
            self._undo = undo.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Free both."""
        await self._undo.__aexit__(kind, error, traceback)

    async def answer(self, image: bytes, *, scale: float = 1.0) -> ImageAnswer:
        """See ``Backend``."""
        wanted = RequestParameters.parse(scaled(self._parameters, scale))
        found = await asyncio.get_running_loop().run_in_executor(self._threads, self._find_faces, image, wanted)
        has_faces = found.num_faces > 0
        answers = await self._batching.encode(found.faces.crops) if has_faces else self._encoder.without_faces
        return judge(found, answers, wanted.aggregate, self._model)

    def stop_retrying(self) -> None:
        """Nothing is tried again here."""

    def _find_faces(self, image: bytes, wanted: RequestParameters) -> CutImage:
        """All in one thread, so that only as many frames are held as there are threads."""
        decoded = decode(image, self._max_pixels)
        found = Found(self._detector.detect(decoded.letterbox), self._detector.detector_id)
        return cut(decoded.frame, found, Cutting(wanted, self._max_faces_cap, self._spec))


def _checked(answer: EncoderAnswer) -> CropAnswers:
    """What may become a verdict.

    Raises:
        CallError: a row is no number; in the words of the served encoder.
    """
    if not finite_rows(answer).all():
        raise internal_error("the encoder answered what is no number: its weights are damaged, publish another version")
    return CropAnswers(answer.p_fake[:, 0], answer.threshold[:, 0], answer.artifact_id, answer.spec_id)
