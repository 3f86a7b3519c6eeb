"""The same files, all of them, by every way in turn: from a folder to scored rows, with the CPU time that it took.

Models are loaded before the clock starts. A way's scores are compared with the papers' path's before its times count,
and again after every turn.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.pipeline.papers_path import PapersPath, Scores
from benchmarks.serving import generator
from benchmarks.serving.model_statistics import read_statistics, split
from client.calling import CallPolicy
from client.job import ScoreRun, score_paths
from client.options import ScoreOptions
from client.options import Way as ClientWay
from client.readers import read_rows
from client.rows import real_path
from export.ranking import rank_agreement, rank_failures
from export.report import LIMITS
from lnclip.artifact import Precision
from lnclip.contract import ENCODER
from lnclip.errors import LnclipError
from lnclip.running import RunningServer

log = logging.getLogger(__name__)

ScoresByFile = Mapping[Path, Scores]

MIN_RANKED = 20
"""Faces; with fewer, one swap of neighbours may break the limit of the rank correlation."""

PATIENT = CallPolicy(timeout_s=600.0)
"""A large encoder in FP32 on few cores keeps the sixteenth request waiting for half a minute."""


@dataclass(frozen=True, kw_only=True)
class Route:
    """One way from files to rows."""

    name: str
    precision: Precision
    """Of the encoder; decides how far its scores may be from the reference's."""

    score: Callable[[Sequence[Path]], ScoresByFile]
    server: RunningServer | None = None


class Turn(NamedTuple):
    """All files by one route, once."""

    seconds: float
    cpu_s: float
    """Of this process."""

    server_cpu_s: float
    """Of tritonserver and its stubs; 0 without a server."""

    encoder_batch: float
    """Crops that the served encoder had at once, mean; 0 without a server."""


class Measured(NamedTuple):
    """All routes over the same files."""

    turns: dict[str, list[Turn]]
    """By the routes' names, round by round; the first one is what the others are compared with."""

    images: int
    """This and the next: in each turn."""

    faces: int


class Result(NamedTuple):
    """What one route's turns say."""

    name: str
    images_per_s: float
    """This and what follows: median over the rounds."""

    slowest: float
    fastest: float
    """Images/s, over the rounds."""

    faces_per_s: float
    ratio: float
    """Its images/s to the first route's, of the same round."""

    cores: float
    """CPU seconds per second, here and in the server."""

    cpu_ms: float
    """For one image."""

    encoder_batch: float


def papers_route(name: str, path: PapersPath, faces_per_call: int) -> Route:
    """One file after the other."""

    def score(files: Sequence[Path]) -> ScoresByFile:
        return {file: path.score(file, faces_per_call=faces_per_call) for file in files}

    return Route(name=name, precision="fp32", score=score)


def client_route(name: str, server: RunningServer, precision: Precision, way: ClientWay, rows: Path) -> Route:
    """``client score FOLDER`` with what it does by default.

    Args:
        name: for people.
        server: to ask.
        precision: that it serves.
        way: the ensemble, or two calls.
        rows: result file, written anew each time.
    """
    options = ScoreOptions(way=way, policy=PATIENT, reuse_answers=False)

    def score(files: Sequence[Path]) -> ScoresByFile:
        job = ScoreRun(
            paths=[str(file) for file in files], out=rows, overwrite=True, urls=[server.grpc_url], options=options
        )
        summary = score_paths(job)
        if summary.exit_status:
            raise LnclipError(f"{name}: not every file was scored: {summary.describe(rows)}")
        return {Path(real_path(row.path)): tuple(face.p_fake for face in row.faces) for row in read_rows(rows)}

    return Route(name=name, precision=precision, score=score, server=server)


def measure_routes(routes: Sequence[Route], files: Sequence[Path], rounds: int) -> Measured:
    """Every route's turns, after one of each that warms up and is checked.

    Args:
        routes: the first is the reference for scores.
        files: each route scores all of them in each turn.
        rounds: who goes first changes with each.

    Raises:
        LnclipError: a route's scores are not those of the reference, so its times say nothing.
    """
    expected: ScoresByFile = {}
    for route in routes:
        _, found = take_turn(route, files)
        expected = expected or found
        check_scores(route, expected, found)
        log.info("%s: scores agree", route.name)
    turns: dict[str, list[Turn]] = {route.name: [] for route in routes}
    for number in range(rounds):
        first = number % len(routes)
        for route in (*routes[first:], *routes[:first]):
            turn, found = take_turn(route, files)
            check_scores(route, expected, found)
            turns[route.name].append(turn)
        told = ", ".join(f"{name} {len(files) / found[-1].seconds:.2f}" for name, found in turns.items())
        log.info("round %d of %d, images/s: %s", number + 1, rounds, told)
    return Measured(turns, len(files), sum(map(len, expected.values())))


def take_turn(route: Route, files: Sequence[Path]) -> tuple[Turn, ScoresByFile]:
    """All files once."""
    server = route.server
    before = read_statistics(server.http_url) if server else None
    served_s = generator.cpu_s(server.pid) if server else 0.0
    cpu_s, started_s = time.process_time(), time.perf_counter()
    scores = route.score(files)
    seconds, cpu_s = time.perf_counter() - started_s, time.process_time() - cpu_s
    if server is None or before is None:
        return Turn(seconds, cpu_s, 0.0, 0.0), scores
    served_s = generator.cpu_s(server.pid) - served_s
    encoder = split(before, read_statistics(server.http_url), ENCODER)
    return Turn(seconds, cpu_s, served_s, encoder.inferences / max(encoder.executions, 1)), scores


def check_scores(route: Route, expected: ScoresByFile, found: ScoresByFile) -> None:
    """Every file has the faces that it has in the reference, with its scores.

    How far a score may be off follows from the precision alone (``export.report.LIMITS``): PIL decodes the file on
    both sides, detector and choice of faces are the same functions, and the papers' crop has the same bytes as ours
    (tests/benchmarks/pipeline holds it to that), so whatever differs is the encoder's arithmetic. For FP32 that is
    1e-5, seen 9e-7 over 162 faces; int8 is judged by its ranks.

    Raises:
        LnclipError: they differ.
    """
    for file, scores in expected.items():
        if file not in found or len(found[file]) != len(scores):
            seen = f"{len(found[file])} faces" if file in found else "no row"
            raise LnclipError(f"{route.name}: {file} has {seen} where the papers' path finds {len(scores)}")
    reference, p_fake = (np.array([p for file in expected for p in by[file]]) for by in (expected, found))
    limits = LIMITS[route.precision]
    worst = float(np.abs(p_fake - reference).max(initial=0.0))
    complaints = [f"p_fake differs by {worst:.2g} > {limits.max_dp:g}"] if not worst <= limits.max_dp else []
    if len(reference) >= MIN_RANKED:
        complaints += rank_failures(rank_agreement(reference, p_fake, [None] * len(reference)), limits)
    if complaints:
        raise LnclipError(
            f"{route.name}: {' and '.join(complaints)} from the papers' path over {len(reference)} faces: "
            "they do not compute the same, so their times say nothing"
        )


def summarise(measured: Measured) -> list[Result]:
    """A row for every route; ratios are to the first."""
    turns, images, faces = measured
    reference_s = np.array([turn.seconds for turn in next(iter(turns.values()))])
    results = []
    for name, found in turns.items():
        seconds = np.array([turn.seconds for turn in found])
        cpu_s = np.array([turn.cpu_s + turn.server_cpu_s for turn in found])
        results.append(
            Result(
                name=name,
                images_per_s=float(np.median(images / seconds)),
                slowest=float(images / seconds.max()),
                fastest=float(images / seconds.min()),
                faces_per_s=float(np.median(faces / seconds)),
                ratio=float(np.median(reference_s / seconds)),
                cores=float(np.median(cpu_s / seconds)),
                cpu_ms=float(np.median(cpu_s / images * 1000)),
                encoder_batch=float(np.median([turn.encoder_batch for turn in found])),
            )
        )
    return results
