"""How much of the machine reaches the caller: the server against the models' own work, two figures.

(1) Ready crops, at saturation::

        share = crops per second through the server / crops per second of the engine alone

    The engine alone is the one that is served, in this process, on all cores, at the batch size that suits it best.
    The crops are faces: a black one would cost the server nothing (``lnclip.blank_crops``), the engine a face's time.

(2) The whole ensemble, at saturation::

        share = images per second through the server / (cores / CPU seconds of one image)

    CPU seconds of one image are those of all the stages together, in one process of the serving environment, with the
    encoder at the batch that the server reached. The load generator works on the same cores and is not taken off; the
    details say how much. Anything else that runs on this machine lowers the share; the server's own CPU time for an
    image, in the details too, does not depend on it: stages / (server + load generator) is what the share can reach.

Server and process take turns in every round, and a figure is the median of the rounds' figures. The server's rates are
``turns.steady_per_s``.
"""

from __future__ import annotations

import math
import os
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from benchmarks.pipeline.costs import SATURATED, total
from benchmarks.pipeline.served_stages import ServedStages
from benchmarks.pipeline.share import Aim, Share
from benchmarks.pipeline.stages import Stages, not_black
from benchmarks.pipeline.turns import (
    Settings,
    alone_per_s,
    described,
    described_loads,
    encoder_batch,
    in_turn,
    saturate,
    steady_per_s,
    under_load,
)
from benchmarks.serving.measured import Measurement
from benchmarks.serving.measuring import Target
from client.scorer import Scorer
from lnclip.errors import LnclipError
from lnclip.running import RunningServer

CROPS = Aim("ready crops through the server, of the encoder alone", 0.95)
ENSEMBLE = Aim("whole ensemble, of the stages alone on the same cores", 0.90)
"""Source: DESIGN section 6."""

CONTENDER = 0.9
"""Batch sizes at which the engine alone reaches this part of its best at a first look are measured in every round."""

MAX_DIFFERENCE = 2e-3
"""Of p_fake between server and process: one face in another batch may differ so much in bf16."""


def crops_share(server_per_s: float, alone: float) -> float:
    """(1): of the engine's own crops per second, the part that comes through the server."""
    return server_per_s / alone


def ensemble_share(images_per_s: float, cores: int, cpu_s: float) -> float:
    """(2): of the images per second that the stages alone could do on these cores, the part that is served.

    Args:
        images_per_s: through the server.
        cores: that server, stages and load generator have.
        cpu_s: of all the stages, for one image.
    """
    return images_per_s / (cores / cpu_s)


def measure_crops_share(server: RunningServer, images: Sequence[Path], settings: Settings) -> Share:
    """Figure (1), with the faces of these images.

    Raises:
        LnclipError: a request failed, or the server's repository or an image cannot be read.
    """
    with Stages(server.repository) as stages:
        crops = not_black(stages.run([path.read_bytes() for path in images]).crops)
        if not len(crops):
            raise LnclipError(f"no face in any of {len(images)} images")
        payloads, target = [crop.tobytes() for crop in crops], _target(server, "crops")

        def alone(batches: Sequence[int]) -> dict[int, float]:
            return {batch: alone_per_s(stages.runner, crops, batch, settings.turn_s) for batch in batches}

        looks = alone(settings.batch_sizes)
        contenders = [batch for batch, rate in looks.items() if rate >= CONTENDER * max(looks.values())]
        tried = saturate(target, payloads, settings)
        load = next(iter(tried))
        rounds = in_turn(
            settings.rounds, lambda: under_load(target, load, payloads, settings), lambda: alone(contenders)
        )
    best = max(contenders, key=lambda batch: statistics.median(rates[batch] for _, rates in rounds))
    per_s = [steady_per_s(measured, int(load.value)) for measured, _ in rounds]
    samples = [crops_share(server_per_s, rates[best]) for server_per_s, (_, rates) in zip(per_s, rounds, strict=True)]
    details = {
        "alone_first_look": looks,
        "alone_batch": best,
        "server_first_look": described_loads(tried),
        "rounds": [
            {"server": described(measured), "per_s": rate, "alone": rates}
            for rate, (measured, rates) in zip(per_s, rounds, strict=True)
        ],
    }
    return Share(CROPS, samples, _unstable(rounds), details)


def measure_ensemble_share(server: RunningServer, images: Sequence[Path], settings: Settings) -> Share:
    """Figure (2), over these images.

    Raises:
        LnclipError: a request failed, scores differ, or the server's repository or an image cannot be read.
    """
    contents, cores = [path.read_bytes() for path in images], len(os.sched_getaffinity(0))
    target = _target(server, "images")
    with ServedStages(server.repository) as stages:
        check_answers(server, contents, stages)
        tried = saturate(target, contents, settings)
        load, found = next(iter(tried.items()))
        batch = max(1, round(encoder_batch(found)))
        rounds = in_turn(
            settings.rounds,
            lambda: under_load(target, load, contents, settings),
            lambda: stages.run(contents, batch).costs,
        )
    cycle = math.lcm(int(load.value), len(contents))
    per_s = [steady_per_s(measured, cycle) for measured, _ in rounds]
    cpu_s = [total(costs, SATURATED).cpu_ms / 1000 for _, costs in rounds]
    samples = [ensemble_share(rate, cores, needed_s) for rate, needed_s in zip(per_s, cpu_s, strict=True)]
    details = {
        "cores": cores,
        "stages_encoder_batch": batch,
        "server_first_look": described_loads(tried),
        "rounds": [
            {
                "server": described(measured),
                "per_s": rate,
                "stages_cpu_ms": {stage: cost.cpu_ms for stage, cost in costs.items()},
            }
            for rate, (measured, costs) in zip(per_s, rounds, strict=True)
        ],
    }
    return Share(ENSEMBLE, samples, _unstable(rounds), details)


def check_answers(server: RunningServer, contents: Sequence[bytes], stages: Stages | ServedStages) -> None:
    """Hold the stages' scores against the server's: figures of two that do not do the same would say nothing.

    Raises:
        LnclipError: one differs by more than ``MAX_DIFFERENCE``, or an image has another number of faces.
    """
    with Scorer(server.grpc_url) as scorer:
        rows = [scorer.score(content) for content in contents]
    for number, (row, ours) in enumerate(zip(rows, stages.run(contents).face_p_fake, strict=True)):
        theirs = [face.p_fake for face in row.faces]
        if len(theirs) != len(ours) or not np.allclose(theirs, ours, rtol=0, atol=MAX_DIFFERENCE):
            raise LnclipError(f"image {number}: the server says {theirs or row.error}, the stages {ours.tolist()}")


def _target(server: RunningServer, mode: Literal["images", "crops"]) -> Target:
    return Target(grpc_url=server.grpc_url, http_url=server.http_url, pid=server.pid, mode=mode)


def _unstable(rounds: Sequence[tuple[Measurement, object]]) -> int:
    return sum(not measured.is_stable for measured, _ in rounds)
