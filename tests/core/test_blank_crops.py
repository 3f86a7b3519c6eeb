"""A black crop is computed once, and every crop has the answer that the engine gives."""

from __future__ import annotations

import numpy as np

from lnclip.blank_crops import BlankCropsSpared
from lnclip.engines import Crops, EncoderAnswer


class Counting:
    """Answers each crop's mean, and remembers what it was asked."""

    name, arithmetic = "counting", "none"

    def __init__(self) -> None:
        self.batches: list[int] = []

    def run(self, crops: Crops) -> EncoderAnswer:
        self.batches.append(len(crops))
        mean = crops.mean(axis=(1, 2, 3), dtype=np.float32)[:, None] + np.float32(0.25)
        ids = np.tile(np.array([[1, 2]], np.int32), (len(crops), 1))
        return EncoderAnswer(mean, np.full_like(mean, 0.5), ids, ids + 2, np.repeat(mean, 3, axis=1))


def crops(*values: int) -> Crops:
    return np.stack([np.full((4, 4, 3), value, np.uint8) for value in values])


def test_every_crop_has_the_engines_answer_in_its_place() -> None:
    given = crops(0, 7, 0, 9)
    for mine, engine in zip(BlankCropsSpared(Counting()).run(given), Counting().run(given), strict=True):
        np.testing.assert_array_equal(mine, engine)
        assert mine.dtype == engine.dtype


def test_black_crops_are_computed_once() -> None:
    runner = Counting()
    encoder = BlankCropsSpared(runner)
    for given in (crops(0), crops(0, 0), crops(3, 0, 4), crops(5, 6), crops(0)):
        encoder.run(given)
    assert runner.batches == [1, 2, 2]  # the first black one; 3 and 4; 5 and 6


def test_one_bright_value_makes_a_crop_no_black_one() -> None:
    runner, almost = Counting(), crops(0, 0)
    almost[1, 3, 3, 2] = 1
    BlankCropsSpared(runner).run(almost)
    assert runner.batches == [1, 1]
