"""python -m training: make crops, train, evaluate, calibrate, import."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from lnclip.commands import run
from lnclip.index import Label
from lnclip.sampling import DEFAULT_CHOICE, FrameChoice, Sampling
from training.data.faceforensics import Compression

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__)

DETECTOR = Path("build/repository/face_detector/1")
Detector = Annotated[Path, typer.Option(help="Folder of the face detector: detector.json and its networks.")]
Run = Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a trained or imported run.")]
Indices = Annotated[
    list[Path], typer.Option(help="CSV index, path list (.txt) or folder tree of crops; may be given several times.")
]
Labels = Annotated[
    Path | None, typer.Option(help='TOML of source = "real" or "fake", for path lists and folder trees.')
]


@app.command()
def fit(
    config: Annotated[Path, typer.Option(help="Settings, TOML; see training/configs.")],
    out: Annotated[Path, typer.Option(help="Folder to write: weights.safetensors, model.json, metrics.json, log/.")],
    settings: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override one key.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where a run in --out was cut off.")] = False,
) -> None:
    """Tune an encoder and its head on an index of face crops. Prints the run's folder."""
    from training.config_file import read_config

    settings_read = read_config(config, settings or ())
    from training.fitting import fit as fit_run

    fit_run(settings_read, out, resume=resume)
    typer.echo(out)


@app.command()
def evaluate(
    run_folder: Run,
    *,
    out: Annotated[Path, typer.Option(help="Folder to write: metrics.json, predictions.parquet, plots.")],
    index: Indices | None = None,
    benchmarks: Annotated[
        Path | None, typer.Option(help="Folder of data sets: evaluates all those of training/configs/benchmarks.toml.")
    ] = None,
    labels: Labels = None,
    robustness: Annotated[
        bool, typer.Option("--robustness", help="Again under JPEG, blur, resizing and noise.")
    ] = False,
) -> None:
    """Metrics of frames and videos, per data set and in the mean. Prints a table."""
    from lnclip.evaluation_table import summary
    from training.assessment.evaluation import evaluate as evaluate_run

    found = evaluate_run(run_folder, index or (), out, benchmarks=benchmarks, labels=labels, robustness=robustness)
    typer.echo(summary(found))


@app.command()
def calibrate(
    run_folder: Run,
    index: Indices,
    fpr: Annotated[float, typer.Option(min=0, max=1, help="False-positive rate at the threshold.")] = 0.05,
    labels: Labels = None,
) -> None:
    """Choose temperature and threshold on held-out crops and write them to model.json. Prints what changed as JSON."""
    from training.assessment.calibration import calibrate as calibrate_run

    typer.echo(json.dumps(calibrate_run(run_folder, index, fpr, labels=labels), indent=2))


@app.command("import")
def import_weights(
    source: Annotated[str, typer.Argument(help="File or folder, or hf:owner/name@revision.")],
    out: Annotated[Path, typer.Option(help="Folder to write: weights.safetensors and model.json.")],
) -> None:
    """Make a run of published weights: GenD, deepfake-detection, or an encoder alone. Prints the run's folder."""
    from training.published.importing import import_run

    import_run(source, out)
    typer.echo(out)


@app.command()
def prepare(
    inputs: Annotated[list[Path], typer.Argument(help="CSV indices of images or videos, files, or folders.")],
    *,
    out: Annotated[Path, typer.Option(help="Folder to write: crops, index.csv and report.csv.")],
    label: Annotated[Label | None, typer.Option(help="real or fake: what files and folders given hold.")] = None,
    detector: Detector = DETECTOR,
    sampling: Annotated[Sampling, typer.Option(help="Which frames of a video.")] = DEFAULT_CHOICE.sampling,
    frames: Annotated[int, typer.Option(min=1, help="So many crops of a video.")] = DEFAULT_CHOICE.count,
    stride: Annotated[int, typer.Option(min=1, help="With --sampling stride: every so many frames.")] = (
        DEFAULT_CHOICE.stride
    ),
    masks: Annotated[
        Path | None, typer.Option(help="Folder of masks named as the inputs: cut the manipulated face of fakes.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
) -> None:
    """Cut the largest face of images and of videos' frames, as the server does. Prints the index of crops.

    Runs again where it was cut off. Exit status 1 when a file could not be read or no face was
    found in any; a file without a face alone is an answer, and a row of report.csv.
    """
    from training.data.preparation import prepare as prepare_crops

    choice = FrameChoice(sampling=sampling, count=frames, stride=stride)
    summary = prepare_crops(inputs, label, out, detector, choice=choice, masks=masks, workers=workers)
    typer.echo(summary.crops)
    raise typer.Exit(1 if summary.num_errors or not summary.num_crops else 0)


@app.command()
def faceforensics(
    root: Annotated[Path, typer.Argument(help="Folder of original_sequences/ and manipulated_sequences/.")],
    splits: Annotated[Path, typer.Option(help="Folder of train.json, val.json and test.json.")],
    out: Annotated[Path, typer.Option(help="Folder to write: train.csv, val.csv, test.csv, for prepare.")],
    compression: Annotated[Compression, typer.Option(help="Which of the downloaded qualities.")] = "c23",
) -> None:
    """List FaceForensics++'s videos by its official splits. Prints the indices."""
    from training.data.faceforensics import write_video_indices

    for index in write_video_indices(root, splits, out, compression):
        typer.echo(index)


@app.command("pairs")
def draw_pairs(
    index: Annotated[Path, typer.Argument(help="CSV index of crops with the column pair.")],
    out: Annotated[Path, typer.Option(help="Folder to write: paired.csv and unpaired.csv.")],
    num_pairs: Annotated[int | None, typer.Option("--pairs", min=1, help="So many; default: all there can be.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Another draw for another seed.")] = 0,
) -> None:
    """Draw two subsets of equal counts: fakes with their own originals, and with the originals of others."""
    from training.data.pairing import write_subsets

    write_subsets(index, out, num_pairs, seed)
    typer.echo(out)


@app.command("demo-data")
def demo_data(
    out: Annotated[Path, typer.Option(help="Folder to write.")] = Path("data/demo"),
    detector: Detector = DETECTOR,
    seed: Annotated[int, typer.Option(min=0, help="Other media for another seed.")] = 0,
) -> None:
    """Make self-blended media from public-domain photographs in installed packages. Prints the folder."""
    from training.data.demo_data import write_demo_data

    write_demo_data(out, detector, seed)
    typer.echo(out)


if __name__ == "__main__":
    run(app)
