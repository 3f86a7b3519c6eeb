"""Who is measured: what is missing or answers otherwise costs its own row, and a baseline the whole run."""

from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.encoder_speed import measuring, workers
from benchmarks.encoder_speed.measuring import Task, measure
from benchmarks.encoder_speed.ways import Way, baselines
from lnclip.architecture import KNOWN
from lnclip.artifact import Identity
from lnclip.engines import EncoderAnswer
from lnclip.errors import ParityError, SetupError

ARCHITECTURE = KNOWN["demo-4x192-p32"]
IDENTITY = Identity(weights_sha256="0" * 64, encoder=ARCHITECTURE, activation="quick_gelu", spec=ARCHITECTURE.spec)
ONE_FACE, BATCHED = baselines("cpu")
WRONG, MISSING, RIGHT = Way("onnxruntime", "fp32"), Way("openvino", "int8"), Way("openvino", "fp32")
NUM = 4


def _answer(shift: float = 0.0) -> EncoderAnswer:
    angles = np.arange(NUM)
    embedding = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    p_fake = np.linspace(0.2, 0.8, NUM, dtype=np.float32)[:, None] + np.float32(shift)
    ids = np.zeros((NUM, 2), np.int32)
    return EncoderAnswer(p_fake, np.full((NUM, 1), 0.5, np.float32), ids, ids, embedding)


@pytest.fixture
def task(monkeypatch, tmp_path):
    monkeypatch.setattr(measuring.Artifact, "load", lambda _: SimpleNamespace(identity=IDENTITY))
    monkeypatch.setattr(measuring, "check_crops", lambda *_: np.zeros((NUM, 8, 8, 3), np.uint8))
    monkeypatch.setattr(measuring, "ways", lambda _: [ONE_FACE, BATCHED, WRONG, MISSING, RIGHT])
    return Task(run=tmp_path, exports=tmp_path, device="cpu", batch_sizes=[NUM], rounds=2)


@pytest.fixture
def answer_wrongly(monkeypatch):
    """Workers that answer at once, some ways of theirs wrongly."""

    def use(*wrong: Way) -> None:
        def ask(_engine, function, *given, **_options):
            if function is workers.answer and given[0] == MISSING:
                raise SetupError("not exported")
            if function is workers.answer:
                return _answer(0.1 if given[0] in wrong else 0.0)
            return {
                workers.num_threads: 1,
                workers.reference: _answer(),
                workers.take_turn: [0.5],
                workers.take_ceiling_turn: {},
            }[function]

        @contextmanager
        def started(_engines):
            yield SimpleNamespace(ask=ask)

        monkeypatch.setattr(measuring, "started", started)

    return use


def test_a_way_that_answers_otherwise_is_named_and_not_timed(task, answer_wrongly):
    answer_wrongly(WRONG)
    measured = measure(task)
    assert measured.not_here[WRONG.name].startswith("answers otherwise: max |dp| is 0.1 > 1e-05")
    assert measured.not_here[MISSING.name] == "not exported"
    assert list(measured.checks) == [ONE_FACE, BATCHED, RIGHT]
    assert measured.seconds == {(way, NUM): [[0.5], [0.5]] for way in (ONE_FACE, BATCHED, RIGHT)}


def test_without_a_baseline_there_is_nothing_to_compare_with(task, answer_wrongly):
    answer_wrongly(BATCHED)
    with pytest.raises(ParityError, match="torch eager fp32, to which all ratios are, answers otherwise"):
        measure(task)
