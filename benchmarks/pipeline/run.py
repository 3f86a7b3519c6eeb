"""`benchmarks pipeline`: files to rows against the papers' path, where the time goes, and what the server adds."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import torch

from benchmarks.corpus import write_corpus
from benchmarks.encoder_speed.targets import TARGETED, has_vnni
from benchmarks.pipeline.added import ADDED, measure_added
from benchmarks.pipeline.costs import StageTime
from benchmarks.pipeline.files_to_rows import Measured, Result, Route, client_route, measure_routes, papers_route
from benchmarks.pipeline.files_to_rows import summarise as summarise_routes
from benchmarks.pipeline.hops import Hop, hop_table
from benchmarks.pipeline.papers_path import MAX_FACES_CAP, PapersPath
from benchmarks.pipeline.plot import plot
from benchmarks.pipeline.served import Served, serving
from benchmarks.pipeline.served_stages import measure_stages
from benchmarks.pipeline.share import Share
from benchmarks.pipeline.shares import measure_crops_share, measure_ensemble_share
from benchmarks.pipeline.tables import cpu_parts, routes_table, shares_table, stages_table
from benchmarks.pipeline.turns import Settings
from benchmarks.random_service import random_service
from benchmarks.records import RESULTS, Figure, write_record
from lnclip.architecture import KNOWN
from lnclip.artifact import Artifact, Precision
from lnclip.contract import DETECTOR, ENCODER
from lnclip.publication import versions
from lnclip.running import RunningServer

log = logging.getLogger(__name__)

PACKAGES = ("torch", "open_clip_torch", "openvino", "onnxruntime", "opencv-python-headless", "pillow", "tritonclient")

TARGETS: Mapping[tuple[str, Precision], float] = {("ViT-L-14", "bf16"): 3.5, ("ViT-L-14", "int8"): 5.0}
"""Files to rows, times the papers' path. Source: DESIGN section 6."""

SMALL_ENCODER = "demo-4x192-p32"
"""Serves the one request of ``measure_added``."""


class Findings(NamedTuple):
    """All that one run measured."""

    routes: Measured
    results: list[Result]
    not_here: dict[Precision, str]
    precision: Precision
    """Of what follows."""

    stages: list[StageTime]
    shares: list[Share]
    hops: list[Hop]

    @property
    def parts(self) -> dict[str, float]:
        """CPU milliseconds of one image through the ensemble."""
        return cpu_parts(self.stages, _ensemble(self.results, self.precision).cpu_ms)


def run_pipeline(
    encoder: str,
    images: int,
    rounds: int,
    work: Path,
    out: Path = RESULTS,
    *,
    precisions: Sequence[Precision] = ("fp32", "bf16", "int8"),
    shares: Settings | None = None,
) -> str:
    """Measure, write the record and answer the tables.

    Args:
        encoder: of ``lnclip.architecture.KNOWN``; a CLIP.
        images: files of a corpus that is made for this run.
        rounds: in each, every route and every stage sees all files.
        work: of ``random_model``; see ``served.serving``.
        out: folder of the records.
        precisions: that are served; stages and shares are measured of the first one that can be here.
        shares: how those are measured; None as ``Settings`` says.

    Raises:
        LnclipError: scores disagree, a file was not scored, or nothing can be served.
    """
    settings = shares or Settings()
    with _all_cores() as cores, serving(work, encoder, precisions) as served:
        found = _measure(served, images, rounds, settings)
    caption = (
        f"{encoder}, {images} JPEGs with {found.routes.faces} faces, median of {rounds} rounds in turn; "
        f"stages and shares with {found.precision}"
    )
    tables = (routes_table(found.results, found.not_here), stages_table(found.stages, found.parts))
    text = "\n\n".join((caption, *tables, shares_table(found.shares), hop_table(found.hops)))
    asked = {"encoder": encoder, "images": images, "rounds": rounds, "precisions": list(precisions)}
    path = write_record(
        "pipeline",
        {"settings": {**asked, "torch_threads": cores, "shares": asdict(settings)}, **recorded(found)},
        text,
        plot(found.results, found.parts, caption),
        packages=PACKAGES,
        folder=out,
        figures=figures(encoder, found, native_int8=has_vnni()),
    )
    return f"{text}\n\n{path}"


def recorded(found: Findings) -> dict[str, object]:
    """Rows and raw samples, as JSON holds them."""
    return {
        "rows": [result._asdict() for result in found.results],
        "not_here": found.not_here,
        "stages": [{**asdict(stage), "samples": [c._asdict() for c in stage.samples]} for stage in found.stages],
        "cpu_ms_parts": found.parts,
        "shares": [share.recorded() for share in found.shares],
        "hops": [hop._asdict() for hop in found.hops],
        "samples": {name: [turn._asdict() for turn in turns] for name, turns in found.routes.turns.items()},
    }


def figures(encoder: str, found: Findings, *, native_int8: bool) -> list[Figure]:
    """For README: the ensemble against the papers' path in each precision, then the shares.

    Args:
        encoder: that was served; others than ViT-L/14 have no targets.
        found: what was measured.
        native_int8: see ``has_vnni``; without it INT8's ratio is recorded, not required.
    """
    made = []
    for precision in _precisions(found.results):
        is_required = precision != "int8" or native_int8
        ratio = _ensemble(found.results, precision).ratio
        target = TARGETS.get((encoder, precision)) if is_required else None
        made.append(
            Figure(
                f"files to rows, {encoder} {precision}, against the papers' path in PyTorch eager FP32",
                f"{ratio:.1f}x",
                "-" if target is None else f"at least {target:g}x",
                None if target is None else ratio >= target,
            )
        )
    return made + [_share_figure(encoder, share) for share in found.shares]


def _share_figure(encoder: str, share: Share) -> Figure:
    """With its target: ViT-L/14's, but for the time added, which is always measured with the small encoder."""
    is_targeted = encoder == TARGETED or share.aim == ADDED
    return share.figure() if is_targeted else share.figure()._replace(target="-", met=None)


def _measure(served: Served, images: int, rounds: int, settings: Settings) -> Findings:
    with tempfile.TemporaryDirectory(prefix="pipeline.") as name:
        folder = Path(name)
        files = [picture.path for picture in write_corpus(folder / "corpus", images)]
        routes = measure_routes(_routes(served, folder), files, rounds)
        results = summarise_routes(routes)
        precision, server = next(iter(served.servers.items()))
        batch = max(1, round(_ensemble(results, precision).encoder_batch))
        stages = measure_stages(server.repository, files, rounds, encoder_batch=batch)
        shares, hops = _measure_shares(server, files, folder, settings)
    return Findings(routes, results, served.not_here, precision, stages, shares, hops)


def _routes(served: Served, folder: Path) -> list[Route]:
    papers = PapersPath(served.model.run, served.model.repository / DETECTOR / "1")
    routes = [
        papers_route("papers' path, one face per call", papers, 1),
        papers_route("papers' path, an image's faces at once", papers, MAX_FACES_CAP),
    ]
    for precision, server in served.servers.items():
        rows = folder / "rows.jsonl"
        routes.append(client_route(_ensemble_name(precision), server, precision, "ensemble", rows))
        routes.append(client_route(f"client score --two-calls, {precision}", server, precision, "two_calls", rows))
    return routes


def _measure_shares(
    server: RunningServer, files: Sequence[Path], folder: Path, settings: Settings
) -> tuple[list[Share], list[Hop]]:
    log.info("files to rows is measured; now the shares")
    shares = [measure_crops_share(server, files, settings), measure_ensemble_share(server, files, settings)]
    [picture] = write_corpus(folder / "one", 1, sizes=[(1280, 720)], faces=[1])
    with _small_service(server, folder / "small") as small:
        added, hops = measure_added(small, picture.path, settings)
    return [*shares, added], hops


@contextmanager
def _small_service(server: RunningServer, folder: Path) -> Iterator[RunningServer]:
    """A server of the small encoder: the one that runs, if that is its own."""
    encoder = server.repository / ENCODER
    served = Artifact.load(encoder / str(versions(encoder)[-1]) / "model.json")
    if served.identity.encoder == KNOWN[SMALL_ENCODER]:
        yield server
        return
    with random_service(folder, SMALL_ENCODER) as small:
        yield small


def _ensemble_name(precision: Precision) -> str:
    return f"client score, {precision}"


def _ensemble(results: Sequence[Result], precision: Precision) -> Result:
    return next(result for result in results if result.name == _ensemble_name(precision))


def _precisions(results: Sequence[Result]) -> list[Precision]:
    known: tuple[Precision, ...] = ("fp32", "bf16", "fp16", "int8")
    return [p for p in known if any(result.name == _ensemble_name(p) for result in results)]


@contextmanager
def _all_cores() -> Iterator[int]:
    """Let torch work on all cores, whatever the environment says: so does the server."""
    cores, before = len(os.sched_getaffinity(0)), torch.get_num_threads()
    torch.set_num_threads(cores)
    try:
        yield cores
    finally:
        torch.set_num_threads(before)
