"""What `benchmarks pipeline` prints: the routes, where the CPU time of one image goes, and the shares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks.pipeline.costs import SATURATED, StageTime
from benchmarks.pipeline.files_to_rows import Result
from benchmarks.pipeline.share import Share
from benchmarks.records import table
from lnclip.artifact import Precision

REST = "transport and the rest"
"""Of the client: finding, reading and hashing files, requests, rows. Of Triton: HTTP/2, queues, tensors on their way
between its processes."""


def routes_table(results: Sequence[Result], not_here: Mapping[Precision, str]) -> str:
    """A row for every route, and one for every precision that cannot be here."""
    columns = (
        "", "images/s", "min..max", "faces/s", "times the papers' path", "CPU cores", "CPU ms/image", "encoder batch",
    )  # fmt: skip
    rows = [
        (
            result.name,
            f"{result.images_per_s:.2f}",
            f"{result.slowest:.2f}..{result.fastest:.2f}",
            f"{result.faces_per_s:.2f}",
            f"{result.ratio:.2f}",
            f"{result.cores:.2f}",
            f"{result.cpu_ms:.0f}",
            f"{result.encoder_batch:.1f}" if result.encoder_batch else "-",
        )
        for result in results
    ]
    missing = [(precision, f"not here: {reason}", *("-" * 6)) for precision, reason in not_here.items()]
    return table(columns, [*rows, *missing])


def cpu_parts(stages: Sequence[StageTime], cpu_ms: float) -> dict[str, float]:
    """CPU milliseconds of one image through the ensemble: the stages' own, and what is left of ``cpu_ms``.

    rest = CPU time of client and server together for one image - sum of the stages' own CPU times. Both are of this
    machine, but not of the same minutes: a small rest is within what the machine drifts, and may be below zero.

    Args:
        stages: medians count; the encoder's is that of the batch that the server reached.
        cpu_ms: of client and server, for one image.
    """
    own = {stage.stage: stage.cpu_ms.median for stage in stages}
    parts = {part.removesuffix("_batched"): own[part] for part in SATURATED}
    return {**parts, REST: cpu_ms - sum(parts.values())}


def stages_table(stages: Sequence[StageTime], parts: Mapping[str, float]) -> str:
    """Every stage in this process, and the rest of what the ensemble costs."""
    whole = sum(parts.values())
    rows = [
        (
            stage.stage.replace("_", ", "),
            f"{stage.batch:.1f}",
            f"{stage.wall_ms.median:.2f}",
            "{:.2f}..{:.2f}".format(*stage.wall_ms[1:]),
            f"{stage.cpu_ms.median:.2f}",
            "-" if stage.stage == "encode" else f"{stage.cpu_ms.median / whole:.0%}",
        )
        for stage in stages
    ]
    rest = (REST, "-", "-", "-", f"{parts[REST]:.2f}", f"{parts[REST] / whole:.0%}")
    return table(("one image", "batch", "wall ms", "min..max", "CPU ms", "of the ensemble's CPU"), [*rows, rest])


def shares_table(shares: Sequence[Share]) -> str:
    """Every figure with its rounds, and how many of those had a server whose windows did not agree."""
    rows = [
        (
            share.aim.name,
            share.aim.shown(share.value),
            "..".join(share.aim.shown(edge(share.samples)) for edge in (min, max)),
            str(len(share.samples)),
            str(share.unstable),
        )
        for share in shares
    ]
    return table(("", "median", "min..max", "rounds", "unstable"), rows)
