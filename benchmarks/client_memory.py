"""Does the client's memory stay flat? Its resident size while it lists a million paths and scores many files."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image

from benchmarks.random_service import random_service
from benchmarks.records import Figure, table, write_record
from lnclip.errors import LnclipError
from training.data.demo_data import photograph_pixels

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Plot

LIMIT_MB = 400
"""Resident size that the client may reach at any moment, whatever the number of files."""

FLAT = 0.05
"""Growth of the resident size, second quarter of a run to its last, that still counts as none."""

SIDE_PX = 256
SAMPLE_S = 0.5
PACKAGES = ("numpy", "tritonclient", "grpcio", "pyarrow", "pydantic")

LIST = (
    "from collections import deque; import sys; from client.sources.finding import find; deque(find(sys.argv[1:]), 0)"
)
"""The source stage alone."""


class Growth(NamedTuple):
    """One process, watched from its start to its end."""

    what: str
    inputs: int
    seconds: float
    resident_mb: list[float]
    """Every ``SAMPLE_S``."""

    peak_mb: float
    """At any moment until the last sample."""

    @property
    def quarters_mb(self) -> tuple[float, float]:
        """Median of the second and of the last quarter of the run: they say whether it grows."""
        size = max(1, len(self.resident_mb) // 4)
        second, last = self.resident_mb[size : 2 * size] or self.resident_mb, self.resident_mb[-size:]
        return float(np.median(second)), float(np.median(last))


def run_client_memory(num_listed: int, num_scored: int, out: Path) -> str:
    """Watch the client at work and keep a record; the table.

    Args:
        num_listed: paths in a text list, and again in a CSV table.
        num_scored: files that a real server scores, half of them ready crops.
        out: folder of the records.

    Raises:
        LnclipError: the client failed.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        grown = [*_list_paths(folder, num_listed), *_score_files(folder, num_scored)]
    columns = ("stage", "inputs", "seconds", "second quarter, MB", "last quarter, MB", "peak, MB")
    rows = [
        (each.what, f"{each.inputs:,}", *(f"{value:.0f}" for value in (each.seconds, *each.quarters_mb, each.peak_mb)))
        for each in grown
    ]
    text = table(columns, rows)
    figure = judged(grown, LIMIT_MB)
    record = {"limit_mb": LIMIT_MB, "samples": [each._asdict() for each in grown]}
    write_record("client_memory", record, text, _plot(grown), packages=PACKAGES, folder=out, figures=[figure])
    return text


def judged(grown: Sequence[Growth], limit_mb: float) -> Figure:
    """The peak of all stages, and what the one that grew most grew by; both must be within their limits.

    Args:
        grown: every stage of one run, at least one.
        limit_mb: for the peak.
    """
    growth = max(last / second - 1 for second, last in (each.quarters_mb for each in grown))
    peak_mb = max(each.peak_mb for each in grown)
    scored = sum(each.inputs for each in grown if each.what.startswith("scoring"))
    return Figure(
        f"client memory while scoring {scored:,} files",
        f"{peak_mb:.0f} MB at most, {growth:+.1%} from second to last quarter",
        f"at most {limit_mb:g} MB, flat in the number of files",
        growth <= FLAT and peak_mb <= limit_mb,
    )


def _list_paths(folder: Path, num_paths: int) -> Iterator[Growth]:
    listed, tabled = folder / "paths.txt", folder / "paths.csv"
    with listed.open("w") as file, tabled.open("w") as rows:
        rows.write("path,camera\n")
        for number in range(num_paths):
            file.write(f"photos/{number // 1000:04}/{number:07}.jpg\n")
            rows.write(f"photos/{number // 1000:04}/{number:07}.jpg,{number % 7}\n")
    for what, source in (("a text list", listed), ("a CSV table", tabled)):
        yield _watch(f"listing {what}", num_paths, [sys.executable, "-c", LIST, str(source)])


def _score_files(folder: Path, num_files: int) -> Iterator[Growth]:
    with random_service(folder / "service", "demo-4x192-p32") as server:
        for what, flags in (("images", []), ("ready crops", ["--crops"])):
            source = folder / what.replace(" ", "-")
            _write_photographs(source, num_files // 2)
            arguments = [str(source), "--out", str(source.with_suffix(".jsonl")), "--url", server.grpc_url, *flags]
            command = [sys.executable, "-m", "client", "score", *arguments]
            yield _watch(f"scoring {what}", num_files // 2, command)


def _write_photographs(folder: Path, number: int) -> None:
    """So many files, all different: windows of a photograph, each of a brightness of its own."""
    folder.mkdir()
    frame, rng = photograph_pixels("astronaut")[:300, 60:440], np.random.default_rng(0)
    for index in range(number):
        y, x = rng.integers(0, (frame.shape[0] - SIDE_PX, frame.shape[1] - SIDE_PX))
        window = frame[y : y + SIDE_PX, x : x + SIDE_PX] * rng.uniform(0.5, 1.0)
        Image.fromarray(window.astype(np.uint8)).save(folder / f"{index:06}.jpg", quality=80)


def _watch(what: str, inputs: int, command: list[str]) -> Growth:
    """Run a command and look at its resident size every ``SAMPLE_S``.

    Raises:
        LnclipError: it failed.
    """
    started_s, sizes, peak_mb = time.monotonic(), list[float](), 0.0
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            time.sleep(SAMPLE_S)
            status = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8")
            if "VmRSS" in status:  # not of one that has just ended
                sizes.append(_megabytes(status, "VmRSS"))
                peak_mb = _megabytes(status, "VmHWM")
    if process.returncode:
        raise LnclipError(f"{what} ended with status {process.returncode}; its error stands above")
    return Growth(what, inputs, time.monotonic() - started_s, sizes, peak_mb)


def _megabytes(status: str, name: str) -> float:
    return next(int(line.split()[1]) / 1000 for line in status.splitlines() if line.startswith(f"{name}:"))


def _plot(grown: list[Growth]) -> Plot:
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure: Plot
    figure, axes = plt.subplots(figsize=(7, 3.2))
    for each in grown:
        axes.plot(np.linspace(0, 100, len(each.resident_mb)), each.resident_mb, label=f"{each.what} ({each.inputs:,})")
    axes.axhline(LIMIT_MB, color="0.6", linestyle="--")
    axes.set(xlabel="share of the run, %", ylabel="resident size, MB", ylim=(0, LIMIT_MB * 1.1))
    axes.legend(fontsize=8)
    return figure
