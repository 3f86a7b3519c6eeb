"""The proof that nobody notices a publish: a saturated server, ten publishes and a rollback."""

from __future__ import annotations

import itertools
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from export.publishing import PublishOptions, publish
from export.rollback import rollback
from lnclip.artifact import Artifact
from lnclip.engines import TorchRunner
from lnclip.running import RunningServer
from lnclip.spec import PreprocessSpec
from server.embedded import StartOptions, discard, start
from tests.conftest import jpeg
from tests.model_repository.test_served import faces_in_process, score

pytestmark = pytest.mark.slow

CLIENTS = 4
PUBLISHES = 10
APART = 0.1
"""How far the two models' scores of every file are apart, so that no answer can pass for the other's."""

TOLERANCE = 5e-3
"""Of a served score, against torch on the same weights; both compute in FP32."""


class Answered(NamedTuple):
    file: int
    artifact_id: str
    p_fake: float


def toned(picture: np.ndarray, factor: float, shift_px: int) -> bytes:
    """The same face in another light and at another place."""
    moved = np.roll(picture, shift_px, axis=(0, 1))
    return jpeg(np.clip(moved * factor, 0, 255).astype(np.uint8))


@pytest.fixture(scope="module")
def scores_by_weights(
    repository: Path, random_run: Path, retrained: Path, spec: PreprocessSpec, astronaut, grace_hopper
):
    """Files on which the two models differ, and what torch says of each with either weights."""
    pictures = itertools.product((astronaut, grace_hopper), (0.5, 0.75, 1.0, 1.25), (0, 16, 32))
    files = [toned(*picture) for picture in pictures]
    crops = [faces_in_process(repository, file, spec).crops for file in files]
    expected = {}
    for run in (random_run, retrained.parent / "run"):
        with TorchRunner(run) as runner:
            expected[Artifact.load(run / "model.json").identity.artifact_id.hex] = np.array(
                [runner.run(faces).p_fake.max() for faces in crops]
            )
    one, other = expected.values()
    apart = np.flatnonzero(np.abs(one - other) >= APART)
    assert len(apart) >= 6
    return [files[index] for index in apart], {name: values[apart] for name, values in expected.items()}


def ask_until(stopped: threading.Event, server: RunningServer, files: list[bytes], first: int) -> list[Answered]:
    """Score one file after the other, without a pause; an error ends it, and the test."""
    answers = []
    for index in itertools.cycle(np.roll(np.arange(len(files)), first).tolist()):
        if stopped.is_set():
            return answers
        found = score(server, files[index])
        answers.append(Answered(index, found.model["artifact_id"], found.p_fake[0]))
    raise AssertionError("a cycle has no end")


def test_no_request_fails_and_every_answer_is_its_weights_own(
    published: Path, exported: Path, retrained: Path, tmp_path: Path, scores_by_weights
) -> None:
    files, expected = scores_by_weights
    options = PublishOptions(run_dir=tmp_path / ".run")
    names = [Artifact.load(export / "model.fp32.json").identity.artifact_id.hex for export in (exported, retrained)]
    server, stopped = start(StartOptions(repository=published, run_dir=options.run_dir)), threading.Event()
    try:
        with ThreadPoolExecutor(CLIENTS) as pool:
            clients = [pool.submit(ask_until, stopped, server, files, first) for first in range(CLIENTS)]
            try:
                for number in range(1, PUBLISHES + 1):
                    publish((exported, retrained)[number % 2], published, options=options)
                    assert score(server, files[0]).model["artifact_id"] == names[number % 2]
                rollback(published, options)
                assert score(server, files[0]).model["artifact_id"] == names[1]
            finally:
                stopped.set()
            answers = [answer for client in clients for answer in client.result()]
    finally:
        discard(options.run_dir)
    assert {answer.artifact_id for answer in answers} == set(names)
    assert len(answers) > PUBLISHES * CLIENTS
    worst = max(abs(answer.p_fake - expected[answer.artifact_id][answer.file]) for answer in answers)
    assert worst <= TOLERANCE
