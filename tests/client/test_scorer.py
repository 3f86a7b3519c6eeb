"""Scoring against a real gRPC peer: rows, bounds, and Python's own doors."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import subprocess
import sys
from pathlib import Path

import grpc
import numpy as np
import pytest

from client import AsyncScorer, CallPolicy, Row, ScoreOptions, Scorer
from client.sources.finding import Found
from lnclip.errors import ConfigError, ServerError
from lnclip.spec import PreprocessSpec
from tests.client.peer import (
    Peer,
    RefusalError,
    ensemble_answer,
    sent_image,
    serve,
    slow,
)
from tests.conftest import ROOT

SPEC_32 = PreprocessSpec(input_px=32)


def score(peer: Peer, *paths: Path, **options: object) -> dict[str, Row]:
    with serve(peer) as url, Scorer(url, ScoreOptions(**options)) as scorer:
        rows = list(scorer.score_many(paths))
    assert len({row.path for row in rows}) == len(rows)
    return {Path(row.path).name: row for row in rows}


@pytest.fixture
def files(tmp_path: Path) -> Path:
    for index in range(20):
        (tmp_path / f"{index}.jpg").write_bytes(b"picture %d\x00\x00" % index)
    return tmp_path


def test_a_row_holds_what_was_answered_and_what_was_sent(files: Path) -> None:
    peer = Peer(lambda _: ensemble_answer((0.7, 0.1)))
    row = score(peer, files / "7.jpg")["7.jpg"]
    content = (files / "7.jpg").read_bytes()
    assert [sent_image(request) for request in peer.requests] == [content]
    assert (row.status, row.verdict, row.p_fake, row.num_faces) == ("ok", "fake", 0.7, 2)
    assert [face.p_fake for face in row.faces] == [0.7, 0.1]
    assert row.faces[0].box == (1, 2, 3, 4.1)  # not 4.099999904632568
    assert row.faces[0].flags == ("small", "blurred")
    assert (row.width, row.height, row.warnings) == (640, 480, ("exif_rotated",))
    assert (row.sha256, row.size_bytes) == (hashlib.sha256(content).hexdigest(), len(content))
    assert row.mtime_ns == (files / "7.jpg").stat().st_mtime_ns
    assert row.model is not None
    assert row.model["name"] == "peer"


def test_no_face_is_never_a_number(files: Path) -> None:
    row = score(Peer(lambda _: ensemble_answer(())), files / "1.jpg")["1.jpg"]
    assert (row.status, row.verdict, row.p_fake, row.num_faces, row.faces) == ("no_face", "no_face", None, 0, ())


@pytest.mark.parametrize(
    "wrong",
    [
        {"p_fake": np.float32([np.nan])},
        {"p_fake": np.float32([])},
        {"p_fake": np.float32([0.5, 0.6])},
        {"face_p_fake": np.float32([1.5])},
        {"face_p_fake": np.float32([0.5, 0.5])},
        {"face_box": np.zeros((1, 5), np.float32)},
        {"verdict": np.array([b"maybe"], np.object_)},
        {"model": np.array([b"[]"], np.object_)},
    ],
    ids=str,
)
def test_an_answer_that_cannot_be_right_is_an_error(files: Path, wrong: dict[str, np.ndarray]) -> None:
    row = score(Peer(lambda _: ensemble_answer((0.7,), **wrong)), files / "1.jpg")["1.jpg"]
    assert (row.status, row.p_fake, row.verdict) == ("error", None, None)
    assert row.error is not None
    assert row.error.code == "bad_answer"


def test_one_bad_file_fails_alone(files: Path) -> None:
    def behave(request):
        if b"picture 3\x00" in sent_image(request):
            raise RefusalError(
                grpc.StatusCode.INVALID_ARGUMENT, "in ensemble 'deepfake_detector', truncated: ends early"
            )
        return ensemble_answer()

    rows = score(Peer(behave), files)
    assert len(rows) == 20
    assert rows["3.jpg"].error is not None
    assert (rows["3.jpg"].error.code, rows["3.jpg"].error.message) == ("truncated", "ends early")
    assert {row.status for name, row in rows.items() if name != "3.jpg"} == {"ok"}


def test_files_that_cannot_be_read_have_rows_and_are_not_sent(tmp_path: Path) -> None:
    (tmp_path / "loop.jpg").symlink_to("loop.jpg")
    peer = Peer(lambda _: ensemble_answer())
    rows = score(peer, tmp_path, tmp_path / "gone.jpg", Path("/dev/null"))
    assert {name: row.error.code for name, row in rows.items() if row.error} == {
        "loop.jpg": "symlink_loop",
        "gone.jpg": "not_found",
        "null": "not_a_file",
    }
    assert not peer.requests


def test_no_more_requests_are_in_flight_than_asked_for(files: Path) -> None:
    peer = Peer(slow(0.02))
    assert len(score(peer, files, concurrency=3)) == 20
    assert peer.most_in_flight == 3


def test_the_walk_waits_for_the_server(monkeypatch: pytest.MonkeyPatch, files: Path) -> None:
    """Endless files: what is taken from the walk stays in proportion to what was scored."""
    taken = itertools.count()
    endless = (Found(str(files / f"{next(taken) % 20}.jpg"), "input") for _ in itertools.count())
    monkeypatch.setattr("client.async_scorer.find", lambda paths: endless)
    with serve(Peer(lambda _: ensemble_answer())) as url, Scorer(url) as scorer:
        for _ in itertools.islice(scorer.score_many([files]), 300):
            pass
    assert next(taken) < 300 + 64 + 64 + 16 + 8 + 1


def test_only_parameters_that_were_given_are_sent(files: Path) -> None:
    peer = Peer(lambda _: ensemble_answer())
    score(peer, files / "1.jpg")
    score(peer, files / "1.jpg", parameters={"max_faces": 3, "detector_threshold": 0.5, "aggregate": "mean"})
    without, given = (request.parameters for request in peer.requests)
    assert not without
    assert (given["max_faces"].int64_param, given["detector_threshold"].double_param) == (3, 0.5)
    assert given["aggregate"].string_param == "mean"


def test_a_parameter_that_cannot_be_is_refused_before_anything_is_sent() -> None:
    with pytest.raises(ConfigError, match="detector_threshold"):
        Scorer("127.0.0.1:9", ScoreOptions(parameters={"detector_threshold": 7.0}))


def test_bytes_are_scored_without_a_file() -> None:
    with serve(Peer(lambda _: ensemble_answer())) as url, Scorer(url) as scorer:
        row = scorer.score(b"picture")
    assert (row.path, row.size_bytes, row.mtime_ns, row.status) == ("", 7, None, "ok")


LOOP_THAT_FAILS = """
import sys
from client import Scorer
with Scorer(sys.argv[1]) as scorer:
    for _ in scorer.score_many(sys.argv[2:]):
        raise LookupError
"""


def test_an_error_in_the_callers_loop_is_all_that_is_printed(files: Path) -> None:
    with serve(Peer(slow(0.02))) as url:
        command = [sys.executable, "-c", LOOP_THAT_FAILS, url, str(files)]
        said = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT).stderr
    assert said.splitlines()[0] == "Traceback (most recent call last):"
    assert said.splitlines()[-1] == "LookupError"


def test_works_inside_a_running_event_loop_and_closes_twice(files: Path) -> None:
    async def notebook(url: str) -> Row:
        scorer = Scorer(url)
        row = scorer.score(files / "1.jpg")
        scorer.close()
        scorer.close()
        return row

    with serve(Peer(lambda _: ensemble_answer())) as url:
        assert asyncio.run(notebook(url)).status == "ok"


def test_asynchronous_scoring(files: Path) -> None:
    async def both(url: str) -> tuple[Row, list[Row]]:
        async with AsyncScorer(url) as scorer:
            return await scorer.score(files / "1.jpg"), [row async for row in scorer.score_many([files])]

    with serve(Peer(lambda _: ensemble_answer())) as url:
        row, rows = asyncio.run(both(url))
    assert row.status == "ok"
    assert len(rows) == 20


def test_an_unreachable_server_is_an_error_at_the_beginning() -> None:
    with pytest.raises(ServerError, match="no Triton answers"):
        Scorer("127.0.0.1:9")


def test_a_server_that_goes_away_leaves_rows_with_errors(files: Path) -> None:
    with serve(Peer(lambda _: ensemble_answer())) as url:
        scorer = Scorer(url, ScoreOptions(policy=CallPolicy(retries=1, first_pause_s=0.01, patience_s=1)))
        assert scorer.score(files / "1.jpg").status == "ok"
    rows = list(scorer.score_many([files]))
    scorer.close()
    assert [row.error.code for row in rows if row.error] == ["unavailable"] * 20
