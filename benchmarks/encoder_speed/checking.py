"""Whether a way computes the same network: before any of its times are looked at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.encoder_speed.ways import Device, Way
from export.crops import ParityCrops, demo_crops
from export.parity import Measured, compare, failures
from export.ranking import rank_agreement
from export.report import LIMITS, Comparison
from lnclip.artifact import Identity
from lnclip.engines import Crops, EncoderAnswer, finite_rows
from lnclip.errors import ParityError
from lnclip.spec import PreprocessSpec

NUM_CROPS: dict[Device, int] = {"cpu": 16, "cuda": 64}
"""So many that two neighbours in the wrong order pass: a rank correlation of 0.997 of 16 crops, 0.99995 of 64, where
bf16 and int8 must reach 0.99 and fp16, on a GPU alone, 0.999. A processor may take a second for a crop."""


class Answered(NamedTuple):
    """What one way said of crops 0, 1, ... at one batch size; beyond the last crop they begin anew.

    The largest batch size was asked for all crops, the others for one batch.
    """

    batch: int
    answer: EncoderAnswer


def check_crops(spec: PreprocessSpec, device: Device) -> Crops:
    """(N, S, S, 3): ``NUM_CROPS`` faces and textures, evenly out of those that exports are compared on."""
    crops = demo_crops(spec)
    rows = np.linspace(0, len(crops.crops) - crops.num_adversarial - 1, NUM_CROPS[device]).round().astype(int)
    return np.asarray(crops.crops[rows])


def rows_to_ask(number: int, batch: int, largest: int) -> NDArray[np.intp]:
    """Which of so many crops to ask for, in full batches: all of them in the largest, else one batch."""
    batches = -(-number // batch) if batch == largest else 1
    return np.arange(batches * batch) % number


def check(way: Way, reference: EncoderAnswer, answers: Sequence[Answered], identity: Identity) -> Comparison:
    """Hold a way's answers, at all batch sizes together, to the limits of its precision.

    Args:
        way: for its precision, and its name in the figures.
        reference: torch's FP32 on the processor, of every crop once.
        answers: one for each batch size.
        identity: of the weights.

    Raises:
        ParityError: they differ by more than the precision may, or these crops could not have shown it.
    """
    if not all(finite_rows(each.answer).all() for each in answers):
        raise ParityError("answers otherwise: NaN or infinity")
    comparison = _compare(way, reference, answers, identity)
    if complaints := failures(comparison):
        raise ParityError(f"answers otherwise: {'; '.join(complaints)} (worst: {comparison.worst_crop})")
    if not failures(_compare(way, reference, [_of_other_crops(each) for each in answers], identity)):
        raise ParityError("not proven: these crops cannot tell answers apart, those of other crops pass too")
    return comparison


def _compare(way: Way, reference: EncoderAnswer, answers: Sequence[Answered], identity: Identity) -> Comparison:
    """The figures of all answers; the ranks of those in the largest batch, one for each crop.

    A crop's answers of several batch sizes are equal in the reference and not quite in an engine: as ranks, that
    would count as disorder.
    """
    number = len(reference.p_fake)
    rows = np.concatenate([np.arange(len(each.answer.p_fake)) % number for each in answers])
    names = [f"crop {row % number}, batch {each.batch}" for each in answers for row in range(len(each.answer.p_fake))]
    crops = ParityCrops(
        source="demo",
        crops=np.zeros((len(rows), 1, 1, 3), np.uint8),  # the figures follow from the answers alone
        names=names,
        labels=[None] * len(rows),
    )
    wanted = EncoderAnswer(*(part[rows] for part in reference))
    got = EncoderAnswer(*(np.concatenate(parts) for parts in zip(*(each.answer for each in answers), strict=True)))
    identity = identity.model_copy(update={"precision": way.precision})
    measured = Measured(way.name, way.precision, identity, LIMITS[way.precision], _between_batches(answers, number))
    once = max(answers, key=lambda each: each.batch).answer.p_fake[:number, 0].astype(np.float64)
    ranking = rank_agreement(reference.p_fake[:, 0].astype(np.float64), once, [None] * number)
    return compare(wanted, got, crops, measured).model_copy(update={"ranking": ranking})


def _of_other_crops(answered: Answered) -> Answered:
    """Every answer in the place of the next one."""
    answer = answered.answer
    p_fake, embedding = (np.roll(part, 1, axis=0) for part in (answer.p_fake, answer.embedding))
    return answered._replace(answer=answer._replace(p_fake=p_fake, embedding=embedding))


def _between_batches(answers: Sequence[Answered], number: int) -> float:
    """Largest difference of p, the same crop in the largest batch, which saw all of them, and in another."""
    largest = max(answers, key=lambda each: each.batch).answer.p_fake
    return max(
        float(np.abs(each.answer.p_fake - largest[np.arange(len(each.answer.p_fake)) % number]).max())
        for each in answers
    )
