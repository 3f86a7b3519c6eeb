"""The same content is asked about once in a run, and every file still has a row of its own."""

from __future__ import annotations

import asyncio
import json
import threading
from pathlib import Path

import pytest

from client.answers import error_row
from client.async_scorer import AsyncScorer
from client.known_answers import KnownAnswers
from client.options import ScoreOptions
from client.reading import FileFacts, ReadFile
from client.rows import Row, RowError
from tests.client.peer import MODEL, Peer, ensemble_answer, serve, texts


def file(name: str, content: str, kind: str = "image") -> ReadFile:
    facts = FileFacts(name, size_bytes=4, mtime_ns=5, sha256=content, kind=kind, columns={"id": name})
    return ReadFile(facts, b"")


def row(name: str, content: str, artifact_id: str = "a") -> Row:
    blank = error_row(file(name, content).facts, RowError(code="", message=""), 9.0)
    answered = {"status": "ok", "verdict": "fake", "p_fake": 0.7, "error": None, "model": {"artifact_id": artifact_id}}
    return blank.model_copy(update=answered)


def test_a_copy_has_the_answer_and_its_own_facts() -> None:
    known = KnownAnswers()
    known.keep(row("first.jpg", "content"))
    assert known.row(file("other.jpg", "another content"), 1.5) is None
    copy = known.row(file("copy.jpg", "content"), 1.5)
    assert copy is not None
    assert (copy.path, copy.columns, copy.elapsed_ms) == ("copy.jpg", {"id": "copy.jpg"}, 1.5)
    assert (copy.p_fake, copy.verdict, copy.model) == (0.7, "fake", {"artifact_id": "a"})


def test_another_models_answers_are_forgotten() -> None:
    known = KnownAnswers()
    known.keep(row("first.jpg", "content"))
    known.keep(row("second.jpg", "another content", artifact_id="b"))
    assert known.row(file("copy.jpg", "content"), 0.0) is None
    assert known.row(file("copy.jpg", "another content"), 0.0) is not None


def test_failures_and_videos_are_not_remembered() -> None:
    known = KnownAnswers()
    known.keep(error_row(file("first.jpg", "content").facts, RowError(code="unavailable", message=""), 0.0))
    assert known.row(file("copy.jpg", "content"), 0.0) is None
    known.keep(row("clip.mp4", "content").model_copy(update={"kind": "video"}))
    assert known.row(file("copy.mp4", "content", kind="video"), 0.0) is None


def test_the_least_recently_used_content_goes_first() -> None:
    known = KnownAnswers(most=2)
    for content in "abc":
        known.keep(row(content, content))
        known.row(file("copy", "a"), 0.0)
    assert [known.row(file("copy", content), 0.0) is not None for content in "abc"] == [True, False, True]


def score_all(folder: Path, peer: Peer, options: ScoreOptions) -> list[Row]:
    async def scoring(url: str) -> list[Row]:
        async with AsyncScorer(url, options) as scorer:
            return [row async for row in scorer.score_many([folder])]

    with serve(peer) as url:
        return asyncio.run(asyncio.wait_for(scoring(url), 60))


@pytest.fixture
def copies(tmp_path: Path) -> Path:
    """20 files, 2 contents."""
    for index in range(20):
        (tmp_path / f"{index:02}.jpg").write_bytes(b"even" if index % 2 == 0 else b"odd")
    return tmp_path


def test_each_content_is_sent_once_one_at_a_time(copies: Path) -> None:
    turns = threading.Lock()

    def answer(request: object) -> dict:
        with turns:
            return ensemble_answer((0.25,) if request.raw_input_contents[0][4:] == b"odd" else (0.75,))  # type: ignore[attr-defined]

    peer = Peer(answer)
    rows = score_all(copies, peer, ScoreOptions(concurrency=1))
    assert sorted(row.path[-6:] for row in rows) == [f"{index:02}.jpg" for index in range(20)]
    assert {row.path[-6:]: row.p_fake for row in rows} == {
        f"{index:02}.jpg": 0.75 if index % 2 == 0 else 0.25 for index in range(20)
    }
    assert len(peer.requests) <= 4  # two in flight at the beginning may be of one content


def test_a_reload_in_between_is_noticed(copies: Path) -> None:
    artifacts = iter("ab")

    def answer(request: object) -> dict:
        return ensemble_answer(model=texts(json.dumps(MODEL | {"artifact_id": next(artifacts, "b")})))

    rows = score_all(copies, Peer(answer), ScoreOptions(concurrency=1))
    assert [row.model["artifact_id"] for row in rows if row.model].count("a") <= 3
    assert rows[-1].model == MODEL | {"artifact_id": "b"}


def test_every_copy_is_sent_when_asked_for(copies: Path) -> None:
    peer = Peer(lambda request: ensemble_answer())
    assert len(score_all(copies, peer, ScoreOptions(reuse_answers=False))) == 20
    assert len(peer.requests) == 20
