"""python -m export: a run's weights into graphs, and graphs into the served repository."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, get_args

import typer

from lnclip.artifact import Flavour, Precision
from lnclip.commands import run
from lnclip.errors import ConfigError
from server.repository import REPOSITORY

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)
face_detector = typer.Typer(no_args_is_help=True, help="Write the face detector's model folder.")
app.add_typer(face_detector, name="face-detector")

Repository = Annotated[Path, typer.Option(help="The folder that Triton serves.", metavar="DIR")]


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
    precision: Annotated[str, typer.Option(help="One or more of fp32,bf16.")] = "fp32",
    calibration: Annotated[
        Path | None, typer.Option(metavar="CSV", help="Index of crops to compare on; default: synthetic ones.")
    ] = None,
) -> None:
    """Write ONNX graphs with proof that they answer as the weights do in torch."""
    precisions = parse_precisions(precision)
    from export.onnx_export import export_run

    report = export_run(run_folder, out, precisions, calibration)
    for found in report.comparisons:
        typer.echo(
            f"{found.engine}: artifact {found.artifact_id}, max |dp| {found.max_dp:.2g}, limit {found.limits.max_dp:g}"
        )


@app.command()
def publish(
    exports: Annotated[Path, typer.Argument(help="exports/NAME.")],
    flavour: Annotated[Flavour, typer.Option(help="Which server it is for.")] = "cpu",
    precision: Annotated[
        Precision | None, typer.Option(help="Default: bf16 where exported and the processor has it, else fp32.")
    ] = None,
    repository: Repository = REPOSITORY,
) -> None:
    """Make an export the next served version; a server that runs on the repository loads it."""
    from export.publishing import publish as publish_export

    typer.echo(publish_export(exports, repository, flavour=flavour, precision=precision))


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
) -> None:
    """RetinaFace ResNet-50."""
    from export.face_detector import install_retinaface

    install_retinaface(weights, repository)


if __name__ == "__main__":
    run(app)
