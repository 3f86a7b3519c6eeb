"""python -m training: make crops, train, evaluate."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from lnclip.commands import run
from training.index import Label

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__)

DETECTOR = Path("build/repository/face_detector/1")
Detector = Annotated[Path, typer.Option(help="Folder of the face detector: detector.json and its networks.")]


@app.command()
def fit(
    config: Annotated[Path, typer.Option(help="Settings, TOML; see training/configs.")],
    out: Annotated[Path, typer.Option(help="Folder to write: weights.safetensors, model.json, metrics.json, log/.")],
    settings: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override one key.")] = None,
) -> None:
    """Tune an encoder and its head on an index of face crops. Prints the run's folder."""
    from training.config import read_config

    settings_read = read_config(config, settings or ())
    from training.fitting import fit as fit_run

    fit_run(settings_read, out)
    typer.echo(out)


@app.command()
def evaluate(
    run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a trained run.")],
    index: Annotated[list[Path], typer.Option(help="CSV index of face crops; may be given several times.")],
    out: Annotated[Path, typer.Option(help="Folder to write: metrics.json and predictions.csv.")],
) -> None:
    """Frame-level AUROC, AP, EER and TPR at FPR of a run on labelled crops. Prints the metrics as JSON."""
    from training.evaluation import evaluate as evaluate_run

    typer.echo(json.dumps(evaluate_run(run_folder, index, out), indent=2))


@app.command()
def prepare(
    inputs: Annotated[list[Path], typer.Argument(help="CSV index of images (kind image), images, or folders.")],
    out: Annotated[Path, typer.Option(help="Folder to write: crops, index.csv and report.csv.")],
    label: Annotated[Label | None, typer.Option(help="real or fake: what images and folders given hold.")] = None,
    detector: Detector = DETECTOR,
) -> None:
    """Cut the largest face of each image, as the server does. Prints the index of crops.

    Exit status 1 when an image could not be read or no face was found in any; an image without a
    face alone is an answer, and a row of report.csv.
    """
    from training.preparation import prepare as prepare_crops

    summary = prepare_crops(inputs, label, out, detector)
    typer.echo(summary.crops)
    raise typer.Exit(1 if summary.num_errors or not summary.num_crops else 0)


@app.command("demo-data")
def demo_data(
    out: Annotated[Path, typer.Option(help="Folder to write.")] = Path("data/demo"),
    detector: Detector = DETECTOR,
    seed: Annotated[int, typer.Option(min=0, help="Other media for another seed.")] = 0,
) -> None:
    """Make self-blended media from public-domain photographs in installed packages. Prints the folder."""
    from training.demo_data import write_demo_data

    write_demo_data(out, detector, seed)
    typer.echo(out)


if __name__ == "__main__":
    run(app)
