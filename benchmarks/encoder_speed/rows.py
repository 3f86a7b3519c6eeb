"""From raw seconds to the table's numbers: all arithmetic, no measuring."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.encoder_speed.ceiling import Multiplier, tflops
from benchmarks.encoder_speed.measuring import Measurements
from benchmarks.encoder_speed.products import flop_per_image, products
from benchmarks.encoder_speed.ways import Device, Way, baselines
from lnclip.architecture import EncoderArchitecture
from lnclip.artifact import Precision


class Row(NamedTuple):
    """One way at one batch size."""

    way: Way
    batch: int
    images_per_s: float
    """Median over the rounds; a round is the median of its calls."""

    spread: tuple[float, float]
    """Slowest and fastest round."""

    batch_ms: float
    tflops: float
    """Of what it really multiplies."""

    ceiling_share: float | None
    """Of the ceiling of its type at this batch size; None: there is none."""

    to_one_face: float
    """Images/s over those of one face a call: median of the rounds' ratios."""

    to_batched: float
    """The same, to open_clip in eager FP32 at this batch size."""


class Ceiling(NamedTuple):
    """What the machine can multiply, in TFLOP/s, over the network's shapes at one batch size."""

    precision: Precision
    batch: int
    by: dict[Multiplier, float]

    @property
    def best(self) -> float:
        """Of those that were asked."""
        return max(self.by.values())


def ceilings(measured: Measurements, architecture: EncoderArchitecture, input_px: int) -> list[Ceiling]:
    """One for each type and batch size, in the order of measuring."""
    found: dict[tuple[Precision, int], dict[Multiplier, float]] = {}
    for (precision, batch, multiplier), seconds in measured.ceiling.items():
        speed = tflops(products(architecture, input_px, batch), seconds)
        found.setdefault((precision, batch), {})[multiplier] = speed
    return [Ceiling(precision, batch, by) for (precision, batch), by in found.items()]


def rows(
    measured: Measurements, found: Sequence[Ceiling], architecture: EncoderArchitecture, input_px: int, device: Device
) -> list[Row]:
    """One for each way and batch size, by batch size."""
    best = {(each.precision, each.batch): each.best for each in found}
    speeds = {key: _images_per_s(key[1], seconds) for key, seconds in measured.seconds.items()}
    one_face, batched = baselines(device)
    made = []
    for (way, batch), images_per_s in speeds.items():
        flop = flop_per_image(architecture, input_px, is_last_whole=way.is_last_whole)
        speed = float(np.median(images_per_s))
        ceiling = best.get((way.precision, batch))
        made.append(
            Row(
                way=way,
                batch=batch,
                images_per_s=speed,
                spread=(float(images_per_s.min()), float(images_per_s.max())),
                batch_ms=1000 * batch / speed,
                tflops=speed * flop / 1e12,
                ceiling_share=None if ceiling is None else speed * flop / 1e12 / ceiling,
                to_one_face=float(np.median(images_per_s / speeds[one_face, batch])),
                to_batched=float(np.median(images_per_s / speeds[batched, batch])),
            )
        )
    order = list(measured.checks)
    return sorted(made, key=lambda row: (row.batch, order.index(row.way)))


def _images_per_s(batch: int, rounds: list[list[float]]) -> NDArray[np.float64]:
    """(rounds,)."""
    return batch / np.array([np.median(calls) for calls in rounds])
