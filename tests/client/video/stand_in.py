"""A stand-in for the server, that reads each frame of the videos made here and says what it was told to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from pydantic import JsonValue

from client.answers import ImageAnswer
from client.rows import Face
from client.video.options import VideoOptions
from client.video.scoring import VideoAnswer, score_video
from lnclip.intake import read_image, sniff
from tests.client.video.faces import face
from tests.clips import number_of, shade, write_clip

MODEL: dict[str, JsonValue] = {"artifact_id": "a" * 16, "threshold": 0.5}


class Server:
    """Tells frames by their shade; keeps what was sent and how much at once."""

    def __init__(self, faces: Callable[[int], Sequence[Face]], model: Callable[[int], dict[str, JsonValue]]) -> None:
        self.faces, self.model = faces, model
        self.sent: list[np.ndarray] = []
        self.in_flight = self.most_in_flight = 0

    async def answer(self, image: bytes) -> ImageAnswer:
        assert sniff(image) == "BMP"
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        pixels = read_image(image).pixels
        self.sent.append(pixels)
        await asyncio.sleep(0.001)
        self.in_flight -= 1
        found = tuple(self.faces(number_of(pixels)))
        p_fake = max((one.p_fake for one in found), default=None)
        verdict = "no_face" if p_fake is None else "fake" if p_fake >= 0.5 else "real"
        height, width, _ = pixels.shape
        return ImageAnswer(verdict, p_fake, found, width, height, (), self.model(len(self.sent)))


def suspicious(*numbers: int) -> Callable[[int], list[Face]]:
    return lambda number: [face(0, 0.9 if number in numbers else 0.1)]


def nobody_suspicious(_: int) -> list[Face]:
    return [face(0, 0.1)]


def score(
    path: Path,
    faces: Callable[[int], Sequence[Face]] = nobody_suspicious,
    model: Callable[[int], dict[str, JsonValue]] = lambda _: MODEL,
    **options: object,
) -> tuple[VideoAnswer, Server]:
    server = Server(faces, model)
    with ThreadPoolExecutor(2) as threads:
        return asyncio.run(score_video(path, VideoOptions(**options), server.answer, threads)), server


def shades(path: Path, num_frames: int = 24, **options: object) -> Path:
    """Frames that tell their number."""
    return write_clip(path, map(shade, range(num_frames)), **options)
