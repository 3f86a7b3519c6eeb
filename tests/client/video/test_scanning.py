"""Decoding and answering side by side: bounds, failures, and models that change."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from client.answers import ImageAnswer
from client.calling import CallError
from client.rows import RowError
from client.video.options import VideoOptions
from client.video.scan import MOST_WAITING
from client.video.scoring import score_video
from lnclip.video import Video
from tests.client.video.faces import face
from tests.client.video.stand_in import MODEL, Server, score, shades, suspicious
from tests.clips import shade, write_clip


def test_no_more_than_a_few_frames_are_held_and_several_are_under_way(tmp_path: Path) -> None:
    """However many are wanted; no thread waits for an answer, so one thread does."""
    clip, decoded, answered = shades(tmp_path / "a.mp4", 30), [], []
    server = Server(suspicious(), lambda _: MODEL)

    async def answer(image: bytes) -> ImageAnswer:
        decoded.append(image)
        assert len(decoded) - len(answered) <= MOST_WAITING
        await asyncio.sleep(0.02)
        try:
            return await server.answer(image)
        finally:
            answered.append(image)

    with ThreadPoolExecutor(1) as threads:
        scored = asyncio.run(score_video(clip, VideoOptions(), answer, threads))
    assert len(scored.frames) == 30
    assert 2 <= server.most_in_flight <= MOST_WAITING


def test_decoding_waits_for_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While nothing is answered, the decoder stops a few frames on."""
    num_decoded, frames = 0, Video.frames

    def counted(video: Video):
        nonlocal num_decoded
        for frame in frames(video):
            num_decoded += 1
            yield frame

    monkeypatch.setattr(Video, "frames", counted)

    async def run() -> int:
        server, gate = Server(suspicious(), lambda _: MODEL), asyncio.Event()

        async def answer(image: bytes) -> ImageAnswer:
            await gate.wait()
            return await server.answer(image)

        with ThreadPoolExecutor(1) as threads:
            task = asyncio.create_task(score_video(shades(tmp_path / "a.mp4"), VideoOptions(), answer, threads))
            await asyncio.sleep(0.5)
            held = num_decoded
            gate.set()
            await task
        return held

    assert asyncio.run(run()) == MOST_WAITING
    assert num_decoded == 24


def test_what_fails_for_one_frame_fails_the_video_and_leaves_nothing_running(tmp_path: Path) -> None:
    clip = shades(tmp_path / "a.mp4")
    numbers: list[int] = []

    async def answer(_: bytes) -> ImageAnswer:
        numbers.append(len(numbers))
        await asyncio.sleep(0.01)
        if len(numbers) > 5:
            raise CallError(RowError(code="unavailable", message="gone"), retryable=True)
        return ImageAnswer("real", 0.1, (face(0, 0.1),), 64, 48, (), MODEL)

    async def run() -> set[asyncio.Task[None]]:
        with ThreadPoolExecutor(2) as threads, pytest.raises(CallError, match="unavailable: gone"):
            await score_video(clip, VideoOptions(), answer, threads)
        return asyncio.all_tasks() - {asyncio.current_task()}

    assert asyncio.run(run()) == set()
    assert len(numbers) < 12


def test_a_video_can_be_given_up_in_the_middle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last frame is far off: nobody waits until it is decoded, which would take 10 s."""
    frames = Video.frames

    def slow(video: Video):
        for frame in frames(video):
            time.sleep(0.1)
            yield frame

    monkeypatch.setattr(Video, "frames", slow)
    clip, server = write_clip(tmp_path / "a.mp4", [shade(0)] * 100), Server(suspicious(), lambda _: MODEL)

    async def run() -> None:
        with ThreadPoolExecutor(1) as threads:
            task = asyncio.create_task(score_video(clip, VideoOptions(frames=2), server.answer, threads))
            await asyncio.sleep(0.5)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    started_s = time.monotonic()
    asyncio.run(run())
    assert time.monotonic() - started_s < 5
    assert len(server.sent) == 1


def test_all_frames_are_answered_by_one_model_or_scored_again(tmp_path: Path) -> None:
    clip = shades(tmp_path / "a.mp4")
    new = MODEL | {"artifact_id": "b" * 16}
    answer, server = score(clip, model=lambda number: MODEL if number < 10 else new)
    assert answer.model == new
    assert len(server.sent) == 48


def test_a_model_that_changes_again_is_an_error_that_may_be_tried_again(tmp_path: Path) -> None:
    with pytest.raises(CallError, match="model_changed") as caught:
        score(shades(tmp_path / "a.mp4"), model=lambda number: MODEL | {"artifact_id": str(number // 20)})
    assert caught.value.retryable
    assert caught.value.error.code == "model_changed"
