"""The demo: every stage once, by the commands that a user would type, and a table of what came out.

What it trains sees self-blending in a few photographs. It is no deepfake detector. Imported weights
can take its place.
"""

from __future__ import annotations

import csv
import logging
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from client.readers import read_rows
from client.rows import Row, printable_path, real_path
from lnclip.artifact import Artifact
from lnclip.errors import ConfigError, LnclipError
from lnclip.metrics import auroc
from lnclip.running import grpc_url

log = logging.getLogger(__name__)

CONFIG = Path(__file__).parent.parent / "training" / "configs" / "demo.toml"
MARKER = "made-by-make-demo"

NOTE = (
    "This model was trained for a few minutes to see self-blending (a face blended into itself) in two photographs. "
    "It is no deepfake detector: its scores mean nothing for other pictures. For one, import published weights: "
    "make demo WEIGHTS=hf:yermandy/GenD_CLIP_L_14@891ce014a0308386c4d7d25b3dcf436a22db5504, or for good: "
    "python -m training import hf:yermandy/GenD_CLIP_L_14@891ce014a0308386c4d7d25b3dcf436a22db5504 --out runs/gend"
)


def run_demo(out: Path, settings: list[str], weights: str | None = None) -> str:
    """Run every stage below ``out``; its closing line.

    Args:
        out: made anew.
        settings: overrides of the training configuration, KEY=VALUE.
        weights: what ``training import`` reads: it stands in for the training.

    Raises:
        ConfigError: ``out`` holds something that the demo did not make, or there are settings for a
            training that does not happen.
        LnclipError: a stage failed; what it said stands above.
    """
    if weights is not None and settings:
        raise ConfigError("--set is for the training, which --weights stands in for: give one of them")
    started = time.monotonic()
    data, crops, repository, rows = out / "data", out / "crops", out / "repository", out / "rows.jsonl"
    run = out / ("self-blending" if weights is None else "imported")
    _clear(out)
    if weights is not None:
        _step("training", "import", weights, "--out", run)
    _step("server", "init", "--repository", repository)
    _step("export", "face-detector", "mtcnn", "--repository", repository)
    detector = repository / "face_detector" / "1"
    _step("training", "demo-data", "--out", data, "--detector", detector)
    calibration: list[object] = []  # imported weights: export's own few crops, for a large encoder is slow here
    if weights is None:
        _step("training", "prepare", data / "train.csv", "--out", crops, "--detector", detector, "--workers", 2)
        calibration = ["--calibration", crops / "index.csv"]
        overrides = [word for pair in (f"train_index={crops / 'index.csv'}", *settings) for word in ("--set", pair)]
        _step("training", "fit", "--config", CONFIG, "--out", run, *overrides)
    _step("export", "onnx", run, "--out", out / "export", *calibration)
    _step("export", "publish", out / "export", "--repository", repository)
    with _server(repository, out / ".run"):
        media = [data / name for name in ("test", "heldout", "extra")]
        url = grpc_url(None, out / ".run")
        _step("client", "score", *media, "--out", rows, "--url", url, may_find_errors=True)
    note = NOTE if weights is None else _note(weights, run)
    _step("client", "report", rows, "--out", out / "report.html", "--note", note)
    summary = _summary(data, rows, out / "report.html")
    log.info("%s", note)
    log.info("took %.0f s after the set-up", time.monotonic() - started)
    return summary


def _note(weights: str, run: Path) -> str:
    """What the scores of imported weights are."""
    artifact = Artifact.load(run / "model.json")
    return (
        f"These are the scores of imported weights: {weights}, a {artifact.identity.encoder.name} (threshold: "
        f"{artifact.provenance.threshold_source}). The media here are faces blended into themselves, which is outside "
        "what published detectors were trained on: the AUROC shows that all stages work, not how good the weights are."
    )


def _clear(out: Path) -> None:
    if out.exists() and any(out.iterdir()) and not (out / MARKER).exists():
        raise ConfigError(f"{out} holds something that the demo did not make: remove it, or give another --out")
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    (out / MARKER).touch()


def _step(package: str, *words: object, may_find_errors: bool = False) -> None:
    """Run one command as a user would, its output on stderr.

    Args:
        package: ``python -m`` this.
        words: the rest of the command line.
        may_find_errors: exit status 1, "some items failed", is expected.
    """
    arguments = ["-m", package, *map(str, words)]
    log.info("\n$ python %s", shlex.join(arguments))
    status = subprocess.run([sys.executable, *arguments], stdout=sys.stderr, check=False).returncode
    if status not in ((0, 1) if may_find_errors else (0,)):
        raise LnclipError(f"the demo stopped: python {shlex.join(arguments[:3])} ended with status {status}")


@contextmanager
def _server(repository: Path, run_dir: Path) -> Iterator[None]:
    _step("server", "start", "--repository", repository, "--run-dir", run_dir)
    try:
        yield
    finally:
        _step("server", "stop", "--run-dir", run_dir)


def _summary(data: Path, rows_file: Path, report: Path) -> str:
    rows = list(read_rows(rows_file))
    fresh, held_out = (_auroc(data / f"{split}.csv", rows) for split in ("test", "heldout"))
    errors = [row for row in rows if row.status == "error"]
    shown = [*_of_folder(rows, data / "extra"), *_of_folder(rows, data / "test")[:4]]
    log.info("\n%-32s %-8s %-8s %-5s %s", "file", "verdict", "p_fake", "faces", "error")
    for row in shown:
        p_fake = "-" if row.p_fake is None else f"{row.p_fake:.3f}"
        log.info(
            "%-32s %-8s %-8s %-5s %s",
            Path(row.path).name, row.verdict or "-", p_fake, row.num_faces if row.num_faces is not None else "-",
            row.error.code if row.error else "",
        )  # fmt: skip
    log.info("... and %d more in %s\n", len(rows) - len(shown), rows_file)
    log.info("AUROC on new blends of the training photographs:   %.3f", fresh)
    log.info("AUROC on a photograph held out of training:        %.3f", held_out)
    return f"demo: {len(rows)} files scored, {len(errors)} errors, AUROC {fresh:.2f}, report {report}"


def _of_folder(rows: list[Row], folder: Path) -> list[Row]:
    return sorted((row for row in rows if Path(real_path(row.path)).parent == folder), key=lambda row: row.path)


def _auroc(index: Path, rows: list[Row]) -> float:
    """Over the files of an index that have a face."""
    with index.open(newline="", encoding="utf-8") as file:
        labels = {printable_path(index.parent / item["path"]): item["label"] == "fake" for item in csv.DictReader(file)}
    scored = [(labels[row.path], row.p_fake) for row in rows if row.path in labels and row.p_fake is not None]
    if len(scored) < len(labels):
        log.info("%s: no face found in %d of %d files", index.name, len(labels) - len(scored), len(labels))
    is_fake, p_fake = zip(*scored, strict=True)
    return auroc(np.array(is_fake, np.int64), np.array(p_fake, np.float64))
