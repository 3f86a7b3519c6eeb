"""Whether an engine says what the reference says: figures, limits, and a gate that can fail.

A comparison is a function of two answers to the same crops. The gate also proves its own power: the
same answers in the wrong order must not pass. Legend: N crops, D embedding size.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from export.crops import ParityCrops
from export.ranking import rank_agreement, rank_failures
from export.report import LIMITS, Comparison, Limits
from lnclip.artifact import Identity
from lnclip.engines import EncoderAnswer, Runner, finite_rows
from lnclip.errors import ParityError

BATCH = 64
"""The largest batch that is served."""

SMALL_BATCHES = (2, 7, 32)
"""Sizes in which a crop must get the answer that it gets alone and among ``BATCH``."""

LOGIT_RANGE = (0.01, 0.99)
"""Reference p_fake between which a log-odds difference is measured: beyond, float32 rounds it away."""


class Measured(NamedTuple):
    """What answers came from, and what they are held to."""

    engine: str
    arithmetic: str
    identity: Identity
    limits: Limits
    batch_dp: float


def run_all(runner: Runner, crops_NHWC: NDArray[np.uint8]) -> EncoderAnswer:
    """The answers to all crops, in batches of ``BATCH``."""
    parts = [runner.run(crops_NHWC[start : start + BATCH]) for start in range(0, len(crops_NHWC), BATCH)]
    p_fake, threshold, artifact_id, spec_id, embedding = zip(*parts, strict=True)
    ids = np.concatenate(artifact_id), np.concatenate(spec_id)
    return EncoderAnswer(np.concatenate(p_fake), np.concatenate(threshold), *ids, np.concatenate(embedding))


def compare_engine(
    reference: EncoderAnswer,
    runner: Runner,
    crops: ParityCrops,
    identity: Identity,
    *,
    limits: Limits | None = None,
) -> Comparison:
    """Run an engine over the crops and hold its answers to limits.

    Args:
        reference: of the torch runner, to the same crops.
        runner: the engine, entered.
        crops: N of them.
        identity: which the graph must name in its answers.
        limits: None takes those of the identity's precision.

    Raises:
        ParityError: it differs by more than allowed, or these crops could not have shown it.
    """
    candidate = run_all(runner, crops.crops)
    _check_constants(runner.name, candidate, identity, crops)
    batch_dp = batch_difference(runner, crops.crops, candidate.p_fake)
    measured = Measured(runner.name, runner.arithmetic, identity, limits or LIMITS[identity.precision], batch_dp)
    comparison = compare(reference, candidate, crops, measured)
    if complaints := failures(comparison):
        raise ParityError(
            f"{runner.name} disagrees with the reference: {'; '.join(complaints)} (worst crop: {comparison.worst_crop})"
        )
    rolled = candidate._replace(
        p_fake=np.roll(candidate.p_fake, 1, axis=0), embedding=np.roll(candidate.embedding, 1, axis=0)
    )
    prove_power(compare(reference, rolled, crops, measured))
    return comparison


def batch_difference(runner: Runner, crops_NHWC: NDArray[np.uint8], together: NDArray[np.float32]) -> float:
    """Largest difference of p between a crop alone and the same crop in batches of several sizes.

    Args:
        runner: the engine, entered.
        crops_NHWC: N of them; the first and the last are looked at.
        together: p_fake of all, (N, 1), in batches of ``BATCH``.
    """
    rows = np.array([0, len(crops_NHWC) - 1])
    alone = np.concatenate([runner.run(crops_NHWC[row : row + 1]).p_fake for row in rows])
    worst = np.abs(alone - together[rows]).max()
    for size in SMALL_BATCHES:
        others = np.arange(1, size - 1) % len(crops_NHWC)
        batch = crops_NHWC[np.concatenate([rows[:1], others, rows[1:]])]
        worst = max(worst, np.abs(alone - runner.run(batch).p_fake[[0, -1]]).max())
    return float(worst)


def compare(reference: EncoderAnswer, candidate: EncoderAnswer, crops: ParityCrops, measured: Measured) -> Comparison:
    """The figures, without a judgement."""
    p, p_reference = candidate.p_fake[:, 0].astype(np.float64), reference.p_fake[:, 0].astype(np.float64)
    dp = np.abs(p - p_reference)
    return Comparison(
        engine=measured.engine,
        arithmetic=measured.arithmetic,
        precision=measured.identity.precision,
        artifact_id=measured.identity.artifact_id.hex,
        max_dp=float(dp.max()),
        p99_dp=float(np.percentile(dp, 99)),
        mean_dp=float(dp.mean()),
        max_logit_difference=_max_logit_difference(p_reference, p),
        min_cosine=float(_cosines(reference.embedding, candidate.embedding).min()),
        batch_dp=measured.batch_dp,
        worst_crop=crops.names[int(dp.argmax())],
        ranking=rank_agreement(p_reference, p, crops.labels),
        limits=measured.limits,
    )


def failures(comparison: Comparison) -> list[str]:
    """The figures that are beyond their limits, in words; none when the gate is passed."""
    limits = comparison.limits
    logit = comparison.max_logit_difference
    complaints = {
        f"max |dp| is {comparison.max_dp:.2g} > {limits.max_dp:g}": comparison.max_dp > limits.max_dp,
        f"99th percentile of |dp| is {comparison.p99_dp:.2g} > {limits.p99_dp:g}": comparison.p99_dp > limits.p99_dp,
        f"logits differ by {logit} > {limits.max_logit_difference}": logit is not None
        and limits.max_logit_difference is not None
        and logit > limits.max_logit_difference,
        f"embeddings' cosine is {comparison.min_cosine:.9f} < {limits.min_cosine:.9g}": comparison.min_cosine
        < limits.min_cosine,
        f"p in a batch and alone differ by {comparison.batch_dp:.2g} > {limits.batch_dp:g}": comparison.batch_dp
        > limits.batch_dp,
    }
    found = [words for words, failed in complaints.items() if failed]
    return found + rank_failures(comparison.ranking, limits)


def prove_power(rolled: Comparison) -> None:
    """Each figure that is judged must fail for answers that belong to the crop before.

    Raises:
        ParityError: one would have passed, so that passing it proves nothing.
    """
    limits = rolled.limits
    logit, allowed = rolled.max_logit_difference, limits.max_logit_difference
    seen = {
        "p_fake": limits.max_dp >= 1 or rolled.max_dp > limits.max_dp,
        "logits": logit is None or allowed is None or logit > allowed,
        "embeddings": rolled.min_cosine < limits.min_cosine,
        "ranks": limits.min_spearman is None or not rolled.ranking.spearman >= limits.min_spearman,
    }
    if blind := [name for name, fails in seen.items() if not fails]:
        raise ParityError(
            f"these crops cannot tell graphs apart: shuffled {' and '.join(blind)} pass too; "
            "give --calibration with varied crops of both classes"
        )


def _check_constants(engine: str, candidate: EncoderAnswer, identity: Identity, crops: ParityCrops) -> None:
    """Numbers throughout; ids and threshold exactly as model.json has them, for every crop.

    Raises:
        ParityError: otherwise.
    """
    if not (finite := finite_rows(candidate)).all():
        raise ParityError(f"{engine} answers NaN or infinity for {crops.names[int(finite.argmin())]}")
    if ((candidate.p_fake < 0) | (candidate.p_fake > 1)).any():
        raise ParityError(f"{engine} answers p_fake outside 0..1")
    wanted = {
        "threshold": (candidate.threshold, np.float32(identity.threshold)),
        "artifact_id": (candidate.artifact_id, identity.artifact_id.words()),
        "spec_id": (candidate.spec_id, identity.spec.spec_id.words()),
    }
    for name, (answered, value) in wanted.items():
        if not (answered == value).all():
            raise ParityError(f"{engine} answers {name} {answered[0].tolist()}, model.json says {value.tolist()}")


def _max_logit_difference(p_reference: NDArray[np.float64], p: NDArray[np.float64]) -> float | None:
    """Largest difference of log-odds where the reference is not saturated."""
    low, high = LOGIT_RANGE
    clear = (p_reference > low) & (p_reference < high)
    if not clear.any():
        return None
    tiny = np.finfo(np.float32).eps
    p, p_reference = p[clear].clip(tiny, 1 - tiny), p_reference[clear]
    return float(np.abs(np.log(p / (1 - p)) - np.log(p_reference / (1 - p_reference))).max())


def _cosines(a_ND: NDArray[np.float32], b_ND: NDArray[np.float32]) -> NDArray[np.float64]:
    """(N,) of rows; in float64, for float32 cannot tell 1 - 1e-8 from 1."""
    a, b = a_ND.astype(np.float64), b_ND.astype(np.float64)
    return np.asarray((a * b).sum(axis=1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)))
