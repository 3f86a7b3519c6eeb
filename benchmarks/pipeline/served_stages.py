"""The stages in a process of the serving environment, with the numpy that the served models have.

numpy 2 is faster than their 1.26 in MTCNN, by 2 ms an image: measured here, that would count as the server's own cost.
"""

from __future__ import annotations

import multiprocessing
import subprocess
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from benchmarks.pipeline.costs import StageTime
from benchmarks.pipeline.stage_worker import Answer
from benchmarks.pipeline.stages import Pass
from lnclip.errors import LnclipError
from server.environment import ROOT, SERVING_ENV

SERVE = "import sys; from benchmarks.pipeline.stage_worker import serve; serve(*sys.argv[1:])"


class ServedStages:
    """A repository's stages: ``with ServedStages(repository) as stages``."""

    def __init__(self, repository: Path) -> None:
        """``repository`` is one that the CPU flavour serves."""
        self._repository = repository.absolute()

    def __enter__(self) -> Self:
        """Start the process and load everything.

        Raises:
            LnclipError: the repository cannot be read.
        """
        self._pipe, theirs = multiprocessing.Pipe()
        with ExitStack() as undo:
            undo.callback(self._pipe.close)
            command = (str(SERVING_ENV / "bin" / "python"), "-c", SERVE)
            arguments = (*command, str(self._repository), str(theirs.fileno()))
            process = subprocess.Popen(arguments, pass_fds=[theirs.fileno()], cwd=ROOT)
            undo.callback(process.wait)
            undo.callback(process.terminate)
            theirs.close()
            self._receive()
            self._undo = undo.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End the process."""
        self._undo.close()

    def run(self, images: Sequence[bytes], encoder_batch: int | None = None) -> Pass:
        """As ``Stages.run``.

        Raises:
            LnclipError: a file is no image, or the process died.
        """
        self._pipe.send((list(images), encoder_batch))
        return self._receive().as_pass()

    def _receive(self) -> Answer:
        try:
            answer: Answer = self._pipe.recv()
        except EOFError as error:
            raise LnclipError("the process of the stages died; its error stands above") from error
        if answer.trouble is not None:
            raise LnclipError(answer.trouble)
        return answer


def measure_stages(repository: Path, images: Sequence[Path], rounds: int, *, encoder_batch: int = 8) -> list[StageTime]:
    """Every stage's wall and CPU time for one image, over all images in every round.

    Args:
        repository: one that the CPU flavour serves.
        images: files; read before the clock starts.
        rounds: after one that warms up.
        encoder_batch: of ``encode_batched``: what the server reaches under load.

    Raises:
        LnclipError: nothing to measure, or a file or the repository cannot be read.
    """
    if not images or rounds < 1 or encoder_batch < 1:
        raise LnclipError("measuring the stages needs an image, a round and a batch of one at least")
    contents = [path.read_bytes() for path in images]
    with ServedStages(repository) as stages:
        stages.run(contents, encoder_batch)
        passes = [stages.run(contents, encoder_batch) for _ in range(rounds)]
    return stage_times(passes, len(images), encoder_batch)


def stage_times(passes: Sequence[Pass], images: int, encoder_batch: int) -> list[StageTime]:
    """The passes' costs, stage by stage."""
    batch = {"encode": len(passes[0].crops) / images, "encode_batched": float(encoder_batch)}
    return [
        StageTime(stage=stage, batch=batch.get(stage, 1.0), samples=[each.costs[stage] for each in passes])
        for stage in passes[0].costs
    ]
