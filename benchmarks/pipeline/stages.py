"""What the served models compute themselves: the same lnclip functions, in this process, without a server.

It also runs in the serving environment (``served_stages``), so nothing but lnclip is imported.

A stage runs as its model does: on one thread, except the encoder, which has all the cores. CPU time is that of every
thread of this process, so it must do nothing else meanwhile.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import cv2
import numpy as np

from benchmarks.pipeline.costs import Clock, Cost, Stage
from lnclip.allocation import keep_freed_memory
from lnclip.artifact import Artifact
from lnclip.blank_crops import BlankCropsSpared
from lnclip.contract import DETECTOR, ENCODER
from lnclip.detection import Floats, Pixels, choose_faces, letterbox
from lnclip.detectors import load_detector
from lnclip.engines import EncoderAnswer, OpenVinoRunner
from lnclip.errors import ArtifactError
from lnclip.intake import read_image
from lnclip.preprocess import Faces, cut_faces
from lnclip.publication import versions
from lnclip.scoring import RequestParameters, aggregate_faces, verdict

ASKED: Mapping[str, object] = {}
"""Request parameters: none, so the defaults hold."""


class Pass(NamedTuple):
    """All images through all stages once."""

    costs: dict[Stage, Cost]
    crops: Pixels
    """(N, S, S, 3) in the images' order; of an image without a face, a black one as it is served."""

    face_p_fake: list[Floats]
    """(F,) for every image: what the server must answer too."""


def not_black(crops: Pixels) -> Pixels:
    """Those of (N, S, S, 3) crops that show something."""
    return crops[crops.any(axis=(1, 2, 3))]


class Stages:
    """A repository's detector, spec and encoder, loaded here. ``with Stages(repository) as stages``."""

    def __init__(self, repository: Path) -> None:
        """``repository`` is one that the CPU flavour serves."""
        versions_folder = repository / ENCODER
        published = versions(versions_folder)
        if not published:
            raise ArtifactError(f"{versions_folder} holds no published encoder: python -m export publish")
        folder = versions_folder / str(published[-1])
        self.artifact = Artifact.load(folder / "model.json")
        self.detector = load_detector(repository / DETECTOR / "1")
        self.runner = OpenVinoRunner(folder / "model.onnx", self.artifact.identity.precision)
        self._encoder = BlankCropsSpared(self.runner)
        self._compiled_for: set[int] = set()

    def __enter__(self) -> Self:
        """Compile the encoder; OpenCV takes one thread and memory is kept, as in the served models."""
        keep_freed_memory()
        with ExitStack() as undo:
            undo.callback(cv2.setNumThreads, cv2.getNumThreads())
            cv2.setNumThreads(1)
            undo.enter_context(self.runner)
            self._undo = undo.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Free the encoder, and give OpenCV its threads back."""
        self._undo.close()

    def run(self, images: Sequence[bytes], encoder_batch: int | None = None) -> Pass:
        """One pass; the very first one warms up.

        Args:
            images: whole files.
            encoder_batch: faces in one call of ``encode_batched``, None to leave it out; its cost for one face is
                taken times the mean number of faces of an image. One image at least has one then.

        Raises:
            ImageError: a file is no image.
        """
        clock = Clock()
        faces = [self._find_faces(image, clock) for image in images]
        batches = [cut.crops if len(cut.crops) else np.zeros((1, *cut.crops.shape[1:]), np.uint8) for cut in faces]
        answers = []
        for crops in batches:
            with clock.runs("encode"):
                answers.append(self._encoder.run(crops))
        judged = [self._judge(answer, cut, clock) for answer, cut in zip(answers, faces, strict=True)]
        costs = {stage: clock.cost(stage, len(images)) for stage in clock.wall_s}
        pooled = np.concatenate(batches)
        if encoder_batch is not None:
            shown = not_black(pooled)
            encoded = self._encode_batched(shown, encoder_batch, clock)
            costs["encode_batched"] = clock.cost("encode_batched", encoded / (len(shown) / len(images)))
        return Pass(costs, pooled, judged)

    def _find_faces(self, image: bytes, clock: Clock) -> Faces:
        with clock.runs("decode"):
            frame = read_image(image).pixels
            square = letterbox(frame)[None]
        with clock.runs("detect"):
            candidates = self.detector.detect(square)
        detector_id = self.detector.detector_id
        with clock.runs("align"):
            wanted = RequestParameters.parse(ASKED)
            choice = wanted.face_choice(detector_id, wanted.max_faces)
            found = choose_faces(candidates, frame.shape[1::-1], choice)
            return cut_faces(frame, found, detector_id, self.artifact.identity.spec)

    def _judge(self, answer: EncoderAnswer, cut: Faces, clock: Clock) -> Floats:
        with clock.runs("verdict"):
            face_p_fake = answer.p_fake[: len(cut.crops), 0]
            p_fake = aggregate_faces(face_p_fake, cut.detections.boxes, RequestParameters.parse(ASKED).aggregate)
            verdict(p_fake, float(answer.threshold[0, 0]))
        return face_p_fake

    def _encode_batched(self, crops: Pixels, batch: int, clock: Clock) -> int:
        """Encode all crops in whole batches, the first ones again to fill the last; how many that were."""
        turns = itertools.cycle(range(len(crops)))
        if batch not in self._compiled_for:  # the engine compiles for every batch size when it meets it first
            self.runner.run(crops[list(itertools.islice(turns, batch))])
            self._compiled_for.add(batch)
        batches = math.ceil(len(crops) / batch)
        for _ in range(batches):
            filled = crops[list(itertools.islice(turns, batch))]
            with clock.runs("encode_batched"):
                self.runner.run(filled)
        return batches * batch
