"""python -m client: score images and videos against Triton, and look at the result."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from client import flags
from lnclip.commands import run
from lnclip.errors import ConfigError

if TYPE_CHECKING:
    from client.job import ScoreRun, Summary

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Score images and videos against a Triton server, and look at the result.",
)

SCORE_EXAMPLES = """[bold]Examples[/bold]

python -m client score photos/ clip.mp4 --out rows.jsonl

find /data -name '*.jpg' | python -m client score - --out rows.parquet --resume

python -m client score 's3://bucket/day-*/' --out rows.parquet --url gpu1:8001 --url gpu2:8001

python -m client score table.csv --path-column file --out rows.csv --concurrency auto

python -m client score crops/ --crops --out rows.jsonl

python -m client score photos/ --local --out rows.jsonl

python -m client score /shared/photos --ray auto --ray-workers 8 --out /shared/rows.parquet

Exit status: 0 all scored, 1 some files failed (their rows say why), 2 an error (see stderr), 130 or 143 interrupted."""


@app.command(epilog=SCORE_EXAMPLES)
def score(  # noqa: PLR0917 - one parameter is one flag
    paths: flags.Inputs,
    out: flags.Out,
    resume: flags.Resume = False,
    overwrite: flags.Overwrite = False,
    path_column: flags.PathColumn = "path",
    score_duplicates: flags.ScoreDuplicates = False,
    url: flags.Urls = None,
    concurrency: flags.Concurrency = "16",
    timeout_s: flags.TimeoutS = 60.0,
    retries: flags.Retries = 6,
    patience_s: flags.PatienceS = 120.0,
    max_faces: flags.MaxFaces = None,
    min_face_px: flags.MinFacePx = None,
    detector_threshold: flags.DetectorThreshold = None,
    aggregate: flags.HowToAggregate = None,
    max_side: flags.MaxSide = None,
    frames: flags.Frames = 32,
    sampling: flags.HowToSample = "uniform",
    stride: flags.Stride = 10,
    video_rule: flags.VideoRule = "track",
    crops: flags.Crops = False,
    crop_batch: flags.CropBatch = 8,
    spec: flags.Spec = None,
    two_calls: flags.TwoCalls = False,
    local: flags.Local = False,
    repository: flags.Repository = None,
    ray: flags.Ray = None,
    ray_workers: flags.RayWorkers = 2,
) -> None:
    """Score every input; one that cannot be scored is a row with its error, never a gap."""
    from client.calling import CallPolicy
    from client.job import ScoreRun, score_paths
    from client.options import REPOSITORY, ScoreOptions
    from client.video.options import VideoOptions
    from lnclip.artifact import Artifact

    idle = {"--two-calls": two_calls and (local or crops), "--url": local and bool(url)}
    _refuse(idle | {"--spec": bool(spec) and not crops, "--repository": bool(repository) and not local})
    asked = _given(
        max_faces=max_faces, min_face_px=min_face_px, detector_threshold=detector_threshold, aggregate=aggregate
    )
    options = ScoreOptions(
        concurrency=_concurrency(concurrency),
        policy=CallPolicy(timeout_s=timeout_s, retries=retries, patience_s=patience_s),
        parameters=asked,
        way="local" if local else "two_calls" if two_calls else "ensemble",
        repository=repository or REPOSITORY,
        video=VideoOptions(sampling=sampling, frames=frames, stride=stride, rule=video_rule),
        max_side=max_side,
        crops=crops,
        crop_batch=crop_batch,
        spec=Artifact.load(spec).identity.spec if spec else None,
        reuse_answers=not score_duplicates,
    )
    job = ScoreRun(
        paths=paths, out=out, resume=resume, overwrite=overwrite, path_column=path_column, urls=url, options=options
    )
    summary = score_paths(job) if ray is None else _on_ray(job, ray, ray_workers)
    typer.echo(summary.describe(out), err=True)
    raise typer.Exit(summary.exit_status)


@app.command(epilog="Example: python -m client report rows.jsonl --out report.html")
def report(
    rows: Annotated[Path, typer.Argument(metavar="FILE", help="A result of `score`.")],
    out: Annotated[Path, typer.Option(help="The page, one file that loads nothing from elsewhere.")],
    note: Annotated[str, typer.Option(help="Shown at the top, for whoever opens the page.")] = "",
) -> None:
    """Make a page to look at: counts, a histogram, a table, faces boxed, timelines of videos."""
    from client.report import write_report

    write_report(rows, out, note)
    typer.echo(f"report: {out}", err=True)


@app.command(epilog="Example: python -m client evaluate test/index.csv --out served/ --against runs/NAME/test")
def evaluate(
    index: Annotated[Path, typer.Argument(metavar="INDEX", help="CSV with path,label,video,dataset,source.")],
    out: Annotated[Path, typer.Option(help="Folder for metrics.json and predictions.parquet.")],
    url: flags.Urls = None,
    against: Annotated[
        Path | None, typer.Option(help="Folder of `training evaluate`: what the run itself scored there.")
    ] = None,
    concurrency: flags.Concurrency = "16",
) -> None:
    """Score a labelled index through the server and measure it as `training evaluate` measures a run."""
    from client.evaluate import evaluate as evaluate_served
    from client.options import ScoreOptions

    options = ScoreOptions(concurrency=_concurrency(concurrency))
    typer.echo(evaluate_served(index, out, urls=url, against=against, options=options))


@app.command(epilog="Example: python -m client ui --port 7860")
def ui(
    url: flags.Urls = None,
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="On 127.0.0.1; default: 7860, or a free one.")
    ] = None,
) -> None:
    """Open a small page on this machine: drop an image or a video, see its faces and numbers."""
    from client.ui import serve_ui

    serve_ui(url, port)


def _refuse(idle: dict[str, bool]) -> None:
    """A flag that would do nothing is a mistake."""
    for flag, is_idle in idle.items():
        if is_idle:
            raise ConfigError(f"{flag} does nothing with these other flags: leave it out (--help says what it is for)")


def _on_ray(job: ScoreRun, address: str, workers: int) -> Summary:
    from client.ray_job import score_on_ray

    return score_on_ray(job, address, workers)


def _given(**parameters: float | str | None) -> dict[str, float | str]:
    """Those that the command line names; the others are the server's to choose."""
    return {name: value for name, value in parameters.items() if value is not None}


def _concurrency(text: str) -> int | Literal["auto"]:
    if text == "auto":
        return "auto"
    if not text.isdecimal() or not 1 <= int(text) <= 1024:
        raise ConfigError(f"--concurrency is {text!r}, must be 1 to 1024, or auto")
    return int(text)


if __name__ == "__main__":
    run(app)
