"""Crops of concurrent images in one call: who goes together, and who pays for a failure."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np
import pytest

from client.backends.batching import Batching
from client.backends.encoding import CropAnswers, Crops, encode_each, internal_error
from client.calling import CallError
from client.rows import RowError


def image(grey: int, faces: int = 1, side: int = 4) -> Crops:
    return np.full((faces, side, side, 3), grey, np.uint8)


def answer(crops_NHWC: Crops) -> CropAnswers:
    """p_fake is the mean grey."""
    n = len(crops_NHWC)
    p_fake = (crops_NHWC.reshape(n, -1).mean(1) / 255).astype(np.float32)
    return CropAnswers(p_fake, np.full(n, 0.5, np.float32), np.zeros((n, 2), np.int32), np.zeros((n, 2), np.int32))


class Encoder:
    """Takes its time, counts, and cannot answer crops of the grey 13; 99 takes the server down."""

    name, spec = "test", None

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.running = self.most_running = 0

    async def encode(self, crops_NHWC: Crops) -> CropAnswers:
        self.sizes.append(len(crops_NHWC))
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        await asyncio.sleep(0.01)
        self.running -= 1
        if (crops_NHWC == 13).any():
            raise internal_error("no number")
        if (crops_NHWC == 99).any():
            raise CallError(RowError(code="unavailable", message="gone"), retryable=True)
        return answer(crops_NHWC)


def encode_all(images: Sequence[Crops], *, largest: int, calls: int = 1) -> tuple[list, Encoder]:
    encoder = Encoder()

    async def run() -> list:
        batching = Batching(lambda parts: encode_each(encoder, parts), largest, calls)
        return await asyncio.gather(*map(batching.encode, images), return_exceptions=True)

    return asyncio.run(run()), encoder


def test_what_waits_goes_together_when_the_encoder_is_free() -> None:
    answers, encoder = encode_all([image(grey) for grey in range(10)], largest=8)
    assert encoder.sizes == [1, 8, 1]  # the first does not wait for company
    assert [float(each.p_fake[0]) for each in answers] == pytest.approx([grey / 255 for grey in range(10)])


def test_each_image_gets_the_answers_of_its_own_faces() -> None:
    faces = [3, 1, 4, 1, 5]
    answers, encoder = encode_all([image(10 * number, count) for number, count in enumerate(faces, 1)], largest=6)
    assert [len(each.p_fake) for each in answers] == faces
    for number, each in enumerate(answers, 1):
        np.testing.assert_allclose(each.p_fake, 10 * number / 255, rtol=1e-6)
    assert encoder.sizes == [3, 6, 5]  # 1 + 4 + 1, for 5 more do not fit


def test_an_image_with_more_faces_than_fit_goes_alone() -> None:
    _, encoder = encode_all([image(1), image(2, faces=9), image(3)], largest=4)
    assert encoder.sizes == [1, 9, 1]


def test_no_more_calls_than_allowed_run_at_once() -> None:
    _, encoder = encode_all([image(1) for _ in range(12)], largest=2, calls=3)
    assert encoder.most_running == 3
    assert sum(encoder.sizes) == 12


def test_crops_of_another_side_are_not_mixed() -> None:
    answers, encoder = encode_all([image(1), image(2), image(3, side=6), image(4, side=6), image(5)], largest=8)
    assert encoder.sizes == [1, 1, 2, 1]
    assert all(isinstance(each, CropAnswers) for each in answers)


def test_an_image_that_the_encoder_fails_at_fails_alone() -> None:
    answers, encoder = encode_all([image(grey) for grey in (1, 2, 13, 4)], largest=8)
    assert [isinstance(each, CallError) for each in answers] == [False, False, True, False]
    assert answers[2].error.message == "no number"
    assert encoder.sizes == [1, 3, 1, 1, 1]


def test_a_server_that_is_gone_is_not_asked_again_for_each_image() -> None:
    answers, encoder = encode_all([image(grey) for grey in (1, 2, 99, 4)], largest=8)
    assert [isinstance(each, CallError) for each in answers] == [False, True, True, True]
    assert encoder.sizes == [1, 3]


def test_an_image_that_was_given_up_is_not_encoded() -> None:
    encoder = Encoder()

    async def run() -> CropAnswers:
        batching = Batching(lambda parts: encode_each(encoder, parts), 8, 1)
        first, given_up, last = (asyncio.ensure_future(batching.encode(image(grey))) for grey in (1, 2, 3))
        await asyncio.sleep(0)
        given_up.cancel()
        await first
        return await last

    assert asyncio.run(run()).p_fake[0] == pytest.approx(3 / 255)
    assert encoder.sizes == [1, 1]
