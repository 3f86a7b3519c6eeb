"""python -m export: a run's weights into graphs, and graphs into the served repository."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, get_args

import typer

from export.engine_manifest import BuilderName
from lnclip.artifact import Flavour, Precision
from lnclip.commands import run
from lnclip.errors import ConfigError, WithdrawnError
from server.repository import REPOSITORY

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)
face_detector = typer.Typer(no_args_is_help=True, help="Write the face detector's model folder.")
app.add_typer(face_detector, name="face-detector")

Repository = Annotated[Path, typer.Option(help="The folder that Triton serves.", metavar="DIR")]
Exports = Annotated[Path, typer.Argument(help="exports/NAME.")]
PlanPrecision = Annotated[Precision, typer.Option(help="Which of its graphs.")]
ForFlavour = Annotated[Flavour, typer.Option(help="Which server it is for.")]
Keep = Annotated[int, typer.Option(min=2, help="Versions that stay, the new one among them.")]


def parse_precisions(text: str) -> list[Precision]:
    """Split "fp32,bf16".

    Raises:
        ConfigError: one is not a precision.
    """
    words = [word.strip() for word in text.split(",")]
    known: dict[str, Precision] = {word: word for word in get_args(Precision)}
    if unknown := [word for word in words if word not in known]:
        raise ConfigError(f"--precision {unknown[0]!r} is none of {', '.join(known)}")
    return [known[word] for word in words]


@app.command()
def onnx(
    run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="runs/NAME: weights.safetensors and model.json.")],
    out: Annotated[Path, typer.Option(help="exports/NAME, made or replaced when parity is proven.")],
    precision: Annotated[str, typer.Option(help="One or more of fp32,bf16,fp16,int8.")] = "fp32",
    calibration: Annotated[
        Path | None,
        typer.Option(metavar="CSV", help="Index of crops to compare and calibrate on; default: the demo's."),
    ] = None,
) -> None:
    """Write ONNX graphs with proof that they answer as the weights do in torch."""
    precisions = parse_precisions(precision)
    from export.onnx_export import export_run

    report = export_run(run_folder, out, precisions, calibration)
    for found in report.comparisons:
        typer.echo(
            f"{found.engine}: artifact {found.artifact_id}, max |dp| {found.max_dp:.2g}, "
            f"limit {found.limits.max_dp:g}, rank correlation {found.ranking.spearman:.6f}"
        )


@app.command()
def engine(
    exports: Exports,
    precision: PlanPrecision = "fp16",
    builder: Annotated[BuilderName | None, typer.Option(help="Default: tensorrt where it is installed.")] = None,
    target_gpu: Annotated[
        str | None, typer.Option(metavar="SM89", help="Build for a GPU that is not here (tensorrt_rtx alone).")
    ] = None,
    *,
    refittable: Annotated[bool, typer.Option("--refittable", help="Let export refit put other weights in.")] = False,
) -> None:
    """Build a graph's TensorRT plan."""
    from export.engine import build_engine

    made = build_engine(exports, precision, builder=builder, target_gpu=target_gpu, refittable=refittable)
    typer.echo(made.model_dump_json(indent=2))


@app.command()
def refit(
    exports: Exports,
    base: Annotated[Path, typer.Option(metavar="EXPORTS", help="Earlier export with a refittable plan.")],
    precision: PlanPrecision = "fp16",
) -> None:
    """Experimental: make a plan by putting this export's weights into an earlier plan."""
    from export.refit import refit_engine

    typer.echo(refit_engine(exports, base, precision).model_dump_json(indent=2))


@contextmanager
def withdrawal_is_a_failure() -> Iterator[None]:
    """Exit status 1, not 2: nothing was wrong with the command line or the candidate's own check."""
    try:
        yield
    except WithdrawnError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from error


@app.command()
def publish(
    exports: Exports,
    flavour: ForFlavour = "cpu",
    precision: Annotated[
        Precision | None,
        typer.Option(help="Default: fp16 for GPUs; bf16 where exported and the processor has it, else fp32."),
    ] = None,
    repository: Repository = REPOSITORY,
    keep: Keep = 3,
    *,
    replace_spec: Annotated[
        bool, typer.Option("--replace-spec", help="Take another preprocessing or embedding size; server stopped.")
    ] = False,
) -> None:
    """Make an export the next served version; a server that runs on the repository loads it."""
    from export.publishing import PublishOptions
    from export.publishing import publish as publish_export

    options = PublishOptions(keep=keep, replace_spec=replace_spec)
    with withdrawal_is_a_failure():
        typer.echo(publish_export(exports, repository, flavour=flavour, precision=precision, options=options))


@app.command()
def rollback(repository: Repository = REPOSITORY, keep: Keep = 3) -> None:
    """Publish the version before once more, as the next one."""
    from export.publishing import PublishOptions
    from export.rollback import rollback as publish_before

    with withdrawal_is_a_failure():
        typer.echo(publish_before(repository, PublishOptions(keep=keep)))


@app.command()
def release(
    run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="runs/NAME.")],
    out: Annotated[Path | None, typer.Option(help="Default: exports/NAME.")] = None,
    flavour: ForFlavour = "cpu",
    precision: Annotated[Precision | None, typer.Option(help="Default: as publish, where this machine has it.")] = None,
    *,
    calibration: Annotated[Path | None, typer.Option(metavar="CSV", help="Index of crops to compare on.")] = None,
    repository: Repository = REPOSITORY,
) -> None:
    """Export, for GPUs build the plan, and publish: from a finished training to answers."""
    from export.release import Release
    from export.release import release as release_run

    exports = out or Path("exports") / run_folder.name
    wanted = Release(run_folder, exports, repository, flavour=flavour, precision=precision, calibration=calibration)
    with withdrawal_is_a_failure():
        version, seconds = release_run(wanted)
    for step, taken in seconds.items():
        typer.echo(f"{step:<8} {taken:7.1f} s")
    typer.echo(f"{'total':<8} {sum(seconds.values()):7.1f} s, version {version}")


@face_detector.command()
def mtcnn(repository: Repository = REPOSITORY) -> None:
    """MTCNN, from the weights in the installed facenet-pytorch package."""
    from export.face_detector import install_mtcnn

    install_mtcnn(repository)


@face_detector.command()
def retinaface(
    weights: Annotated[
        Path | None, typer.Option(metavar="FILE", help="RetinaFace ResNet-50 weights; default: fetched and checked.")
    ] = None,
    repository: Repository = REPOSITORY,
    *,
    plan: Annotated[bool, typer.Option("--plan", help="Also build the TensorRT plan, for the GPU here.")] = False,
) -> None:
    """RetinaFace ResNet-50."""
    from export.face_detector import install_retinaface

    install_retinaface(weights, repository, with_plan=plan)


if __name__ == "__main__":
    run(app)
