"""python -m client: score images against a Triton server, and look at the result."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lnclip.commands import run
from lnclip.scoring import Aggregate

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Score images against a Triton server, and look at the result.",
)


@app.command()
def score(  # noqa: PLR0917 - one parameter is one flag
    paths: Annotated[list[Path], typer.Argument(metavar="PATH", help="Images and folders (with all below them).")],
    out: Annotated[Path, typer.Option(help="Result file; the ending picks the format: .jsonl, .csv, .parquet.")],
    url: Annotated[
        str | None, typer.Option(help="Triton's gRPC HOST:PORT; default: the server running from here.")
    ] = None,
    concurrency: Annotated[int, typer.Option(min=1, max=1024, help="Requests in flight.")] = 16,
    timeout_s: Annotated[float, typer.Option(min=0.1, help="Deadline of one request, seconds.")] = 60.0,
    retries: Annotated[int, typer.Option(min=0, help="Of one request, when the server is unavailable.")] = 6,
    max_faces: Annotated[int | None, typer.Option(min=1, help="Per image, largest first; server default: 8.")] = None,
    min_face_px: Annotated[
        float | None, typer.Option(min=0, help="Shortest side of the smallest face; server default: 32.")
    ] = None,
    detector_threshold: Annotated[
        float | None, typer.Option(min=0, max=1, help="Lowest detector score; default: the detector's own.")
    ] = None,
    aggregate: Annotated[Aggregate | None, typer.Option(help="From faces to the image; server default: max.")] = None,
    crops: Annotated[bool, typer.Option("--crops", help="The files are aligned face crops: no detector.")] = False,
    crop_batch: Annotated[int, typer.Option(min=1, help="With --crops: crops in one request.")] = 32,
    spec: Annotated[Path | None, typer.Option(help="With --crops: model.json of the served weights.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing result file.")] = False,
) -> None:
    """Score every file; one that cannot be scored is a row with its error, never a gap."""
    from client.async_scorer import ScoreOptions
    from client.calling import CallPolicy
    from client.job import ScoreRun, score_paths
    from lnclip.artifact import Artifact

    asked = {
        "max_faces": max_faces,
        "min_face_px": min_face_px,
        "detector_threshold": detector_threshold,
        "aggregate": aggregate,
    }
    options = ScoreOptions(
        concurrency=concurrency,
        policy=CallPolicy(timeout_s=timeout_s, retries=retries, budget=(retries + 2) * concurrency),
        parameters={name: value for name, value in asked.items() if value is not None},
        crops=crops,
        crop_batch=crop_batch,
        spec=Artifact.load(spec).identity.spec if spec else None,
    )
    summary = score_paths(ScoreRun(paths=paths, out=out, overwrite=overwrite, url=url, options=options))
    typer.echo(summary.describe(out), err=True)
    raise typer.Exit(summary.exit_status)


@app.command()
def report(
    rows: Annotated[Path, typer.Argument(metavar="FILE", help="A result file of `score`.")],
    out: Annotated[Path, typer.Option(help="The page, one file that loads nothing from elsewhere.")],
    note: Annotated[str, typer.Option(help="Shown at the top, for whoever opens the page.")] = "",
) -> None:
    """Make a page to look at: counts, a table, and thumbnails with the faces boxed."""
    from client.report import write_report

    write_report(rows, out, note)
    typer.echo(f"report: {out}", err=True)


if __name__ == "__main__":
    run(app)
