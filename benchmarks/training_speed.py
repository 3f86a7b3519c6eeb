"""LN-tuning's speed and memory: ours, the papers' loop and full fine-tuning, in turn on one machine.

A round lets every variant take some steps, so that a machine that slows down slows all of them.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from benchmarks.records import table, write_record
from lnclip.errors import LnclipError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from benchmarks.training_loops import Measured, Setting, Variant

log = logging.getLogger(__name__)

MAX_LOSS_DIFFERENCE = 1e-4
"""Between ours and the papers' loop, relative, after the warm-up: else they do not do the same."""

MAX_LOSS_DIFFERENCE_BF16 = 2e-2
PACKAGES = ("torch", "open_clip_torch", "transformers")
CALLED = {"ours": "ours", "papers": "papers' loop", "full": "full fine-tuning"}


class Row(NamedTuple):
    """What came out for one variant."""

    variant: Variant
    trainable: int
    images_per_s: float
    """Median over the rounds."""

    spread: tuple[float, float]
    peak_gib: float
    ratio: float
    """Ours to this one, images/s, median of the rounds' ratios."""


def run_training(setting: Setting, rounds: int, steps: int, out: Path) -> str:
    """Measure, write the record and answer the table.

    Raises:
        LnclipError: the variants' losses differ, or a process died.
    """
    from benchmarks.training_loops import VARIANTS

    with _processes(setting) as pipes:
        first = {variant: _ask(variant, pipes[variant], 1) for variant in VARIANTS}
        _check_losses(first)
        samples: dict[Variant, list[Measured]] = {variant: [] for variant in VARIANTS}
        for number in range(rounds):
            turn = number % len(VARIANTS)  # who goes first changes: what runs after the largest one may suffer for it
            for variant in VARIANTS[turn:] + VARIANTS[:turn]:
                samples[variant].append(_ask(variant, pipes[variant], steps))
            log.info(
                "round %d of %d: %s",
                number + 1,
                rounds,
                ", ".join(f"{CALLED[v]} {samples[v][-1].seconds / steps:.2f} s a step" for v in VARIANTS),
            )
    rows = [_row(variant, samples, setting.batch_size * steps) for variant in VARIANTS]
    text = table(
        ("", "trainable", "images/s", "min..max", "peak GiB", "ours / this"),
        [
            (
                CALLED[row.variant],
                f"{row.trainable:,}",
                f"{row.images_per_s:.2f}",
                "{:.2f}..{:.2f}".format(*row.spread),
                f"{row.peak_gib:.2f}",
                f"{row.ratio:.2f}",
            )
            for row in rows
        ],
    )
    record = {
        "settings": {**vars(setting), "rounds": rounds, "steps": steps},
        "rows": [row._asdict() for row in rows],
        "samples": {variant: [sample._asdict() for sample in found] for variant, found in samples.items()},
    }
    caption = f"{setting.encoder}, batch {setting.batch_size}, median of {rounds} rounds of {steps} steps in turn"
    path = write_record("training", record, f"{caption}\n\n{text}", _plot(rows, caption), packages=PACKAGES, folder=out)
    return f"{caption}\n{text}\n{path}"


@contextmanager
def _processes(setting: Setting) -> Iterator[dict[Variant, Connection]]:
    """A process for every variant, ready to take steps; ended on the way out."""
    from benchmarks.training_loops import VARIANTS, serve_variant

    context = multiprocessing.get_context("spawn")
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"  # threads of a variant that waits leave the cores to the others
    pipes, processes = {}, []
    try:
        for variant in VARIANTS:
            pipes[variant], theirs = context.Pipe()
            process = context.Process(target=serve_variant, args=(variant, setting, theirs), daemon=True)
            process.start()
            theirs.close()
            processes.append(process)
        yield pipes
        for pipe in pipes.values():
            pipe.send(0)
    finally:
        for process in processes:
            process.join(timeout=10)
            process.terminate()


def _ask(variant: Variant, pipe: Connection, steps: int) -> Measured:
    """Let one variant take steps while the others wait."""
    try:
        pipe.send(steps)
        measured: Measured = pipe.recv()
    except (EOFError, OSError) as error:
        raise LnclipError(f"the process of {CALLED[variant]} died; its error stands above") from error
    return measured


def _check_losses(first: dict[Variant, Measured]) -> None:
    """The first step's loss is that of the same weights and crops everywhere.

    Raises:
        LnclipError: it differs.
    """
    import torch

    allowed = MAX_LOSS_DIFFERENCE_BF16 if torch.cuda.is_available() else MAX_LOSS_DIFFERENCE
    for variant, measured in first.items():
        difference = abs(measured.loss / first["papers"].loss - 1)
        if difference > allowed:
            raise LnclipError(
                f"{CALLED[variant]} has the loss {measured.loss:.6f} where the papers' loop has "
                f"{first['papers'].loss:.6f}: they do not compute the same, so their times say nothing"
            )


def _row(variant: Variant, samples: dict[Variant, list[Measured]], images: int) -> Row:
    speeds = {name: images / np.array([sample.seconds for sample in found]) for name, found in samples.items()}
    return Row(
        variant=variant,
        trainable=samples[variant][-1].trainable,
        images_per_s=float(np.median(speeds[variant])),
        spread=(float(speeds[variant].min()), float(speeds[variant].max())),
        peak_gib=samples[variant][-1].peak_bytes / 2**30,
        ratio=float(np.median(speeds["ours"] / speeds[variant])),
    )


def _plot(rows: list[Row], caption: str) -> Figure:
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure: Figure
    figure, (speed, memory) = plt.subplots(1, 2, figsize=(9, 3.2))
    names = [CALLED[row.variant] for row in rows]
    medians = np.array([row.images_per_s for row in rows])
    errors = np.abs(np.array([row.spread for row in rows]).T - medians)
    speed.bar(names, medians, yerr=errors, capsize=4)
    speed.set_title("images/s (bars: minimum and maximum)", fontsize=9)
    memory.bar(names, [row.peak_gib for row in rows], color="tab:orange")
    memory.set_title("peak memory, GiB", fontsize=9)
    figure.suptitle(caption, fontsize=10)
    return figure
