"""What the process behind ``served_stages`` does. Imported there, not run: a pickle names the module of its class."""

from __future__ import annotations

from collections.abc import Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.pipeline.costs import Cost, Stage
from benchmarks.pipeline.stages import Pass, Stages
from lnclip.errors import LnclipError


class Answer(NamedTuple):
    """A ``Pass`` without arrays, which one numpy pickles and another reads."""

    trouble: str | None = None
    costs: Mapping[Stage, Cost] = {}
    shape: tuple[int, ...] = (0, 0, 0, 3)
    crops: bytes = b""
    face_p_fake: tuple[bytes, ...] = ()

    @classmethod
    def of(cls, found: Pass) -> Answer:
        """To be sent."""
        scores = tuple(p_fake.astype(np.float32).tobytes() for p_fake in found.face_p_fake)
        return cls(None, found.costs, found.crops.shape, found.crops.tobytes(), scores)

    def as_pass(self) -> Pass:
        """As it was."""
        crops = np.frombuffer(self.crops, np.uint8).reshape(self.shape)
        return Pass(dict(self.costs), crops, [np.frombuffer(p_fake, np.float32) for p_fake in self.face_p_fake])


def serve(repository: str, descriptor: str) -> None:
    """One answer when everything is loaded, then one for every question, until the pipe is closed."""
    pipe = Connection(int(descriptor))
    try:
        with Stages(Path(repository)) as stages:
            pipe.send(Answer())
            while True:
                try:
                    images, encoder_batch = pipe.recv()
                except EOFError:
                    return
                try:
                    pipe.send(Answer.of(stages.run(images, encoder_batch)))
                except LnclipError as error:
                    pipe.send(Answer(str(error)))
    except LnclipError as error:
        pipe.send(Answer(str(error)))
