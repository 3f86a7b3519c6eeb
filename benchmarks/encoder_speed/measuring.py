"""Rounds in which every way, and the ceiling, takes its turn: a machine that slows down slows all of them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.encoder_speed.ceiling import Multiplier, multipliers
from benchmarks.encoder_speed.checking import Answered, check, check_crops, rows_to_ask
from benchmarks.encoder_speed.products import products
from benchmarks.encoder_speed.ways import Device, Way, baselines, ways
from benchmarks.encoder_speed.workers import (
    Workers,
    answer,
    num_threads,
    reference,
    started,
    take_ceiling_turn,
    take_turn,
)
from export.report import Comparison
from lnclip.artifact import Artifact, Precision
from lnclip.engines import Crops
from lnclip.errors import ParityError, SetupError

log = logging.getLogger(__name__)

CEILING_SAMPLES = 9
"""Of every product, at least."""

CeilingKey = tuple[Precision, int, Multiplier]


@dataclass(frozen=True, kw_only=True)
class Task:
    """What is to be measured."""

    run: Path
    exports: Path
    device: Device
    batch_sizes: Sequence[int]
    rounds: int


@dataclass(frozen=True, kw_only=True)
class Measurements:
    """What came out, raw."""

    seconds: dict[tuple[Way, int], list[list[float]]] = field(default_factory=dict)
    """Of each call, by way and batch size: a list for every round."""

    ceiling: dict[CeilingKey, dict[str, list[float]]] = field(default_factory=dict)
    """Seconds of one call of each product."""

    checks: dict[Way, Comparison] = field(default_factory=dict)
    not_here: dict[str, str] = field(default_factory=dict)
    """Why a way, or a ceiling's type, is missing: it cannot be had, or it answers otherwise."""

    threads: list[int] = field(default_factory=list)
    """Of torch, by its own choice."""


def measure(task: Task) -> Measurements:
    """Check every way, then let all of them take their turns.

    Raises:
        ParityError: a baseline computes something else; any other way that does is not timed.
        ArtifactError: the run or a graph cannot be loaded.
        LnclipError: an engine's process died.
    """
    measured = Measurements()
    identity = Artifact.load(task.run / "model.json").identity
    crops = check_crops(identity.spec, task.device)
    tried = ways(task.device)
    with started(["torch", *(way.engine for way in tried)]) as workers:
        measured.threads.append(workers.ask("torch", num_threads))
        wanted = workers.ask("torch", reference, task.run, crops)
        for way in tried:
            try:
                answers = [_answered(workers, task, way, crops, batch) for batch in task.batch_sizes]
                found = check(way, wanted, answers, identity)
            except (SetupError, ParityError) as error:
                if isinstance(error, ParityError) and way in baselines(task.device):
                    raise ParityError(f"{way.name}, to which all ratios are, {error}") from error
                measured.not_here[way.name] = str(error)
                log.info("%s is not here: %s", way.name, error)
                continue
            measured.checks[way] = found
            log.info("%s: max |dp| %.2g, min cosine %.6f", way.name, found.max_dp, found.min_cosine)
        for batch in task.batch_sizes:
            for number in range(task.rounds):
                _take_ways_turns(workers, task, measured, crops, (batch, number))
                _take_ceilings_turns(workers, task, measured, batch)
    return measured


def _answered(workers: Workers, task: Task, way: Way, crops: Crops, batch: int) -> Answered:
    """Also warms up: what an engine compiles for a batch size it compiles here."""
    rows = rows_to_ask(len(crops), batch, max(task.batch_sizes))
    return Answered(batch, workers.ask(way.engine, answer, way, task.run, task.exports, crops[rows], batch))


def _take_ways_turns(
    workers: Workers, task: Task, measured: Measurements, crops: Crops, batch_and_round: tuple[int, int]
) -> None:
    batch, number = batch_and_round
    present = list(measured.checks)
    first = number % len(present)  # who goes first changes: what runs after the largest one may suffer for it
    for way in present[first:] + present[:first]:
        batch_crops = crops[np.arange(batch) % len(crops)]
        taken = workers.ask(way.engine, take_turn, way, task.run, task.exports, batch_crops, warms_up=number == 0)
        measured.seconds.setdefault((way, batch), []).append(taken)
        log.info(
            "batch %d, round %d of %d: %s %.2f images/s",
            batch,
            number + 1,
            task.rounds,
            way.name,
            batch / np.median(taken),
        )


def _take_ceilings_turns(workers: Workers, task: Task, measured: Measurements, batch: int) -> None:
    """A share of the samples for every type that a way computes in."""
    identity = Artifact.load(task.run / "model.json").identity
    shapes = products(identity.encoder, identity.spec.input_px, batch)
    samples = -(-CEILING_SAMPLES // task.rounds)
    for precision in dict.fromkeys(way.precision for way in measured.checks):
        for multiplier in multipliers(task.device):
            label = f"ceiling of {multiplier} {precision}"
            if label in measured.not_here:
                continue
            try:
                taken = workers.ask(multiplier, take_ceiling_turn, multiplier, precision, task.device, shapes, samples)
            except SetupError as error:
                measured.not_here[label] = str(error)
                continue
            kept = measured.ceiling.setdefault((precision, batch, multiplier), {})
            for name, seconds in taken.items():
                kept.setdefault(name, []).extend(seconds)
