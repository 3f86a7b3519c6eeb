"""python -m benchmarks: the demo, and figures that people can trust."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from lnclip.commands import run

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder that is made anew for it.")] = Path("demo"),
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override one key of the training config.")
    ] = None,
    weights: Annotated[
        str | None, typer.Option(help="Published weights instead of training: file, folder, or hf:owner/name@revision.")
    ] = None,
) -> None:
    """Everything once, with nothing but packages: data, training, export, server, scores, report."""
    from benchmarks.demo import run_demo

    typer.echo(run_demo(out, settings or [], weights))


@app.command()
def training(
    *,
    encoder: Annotated[str, typer.Option(help="CLIP encoder, random weights.")] = "ViT-B-16",
    batch_size: Annotated[int, typer.Option(min=2, help="Crops per step.")] = 8,
    rounds: Annotated[int, typer.Option(min=1, help="How often each takes its turn.")] = 5,
    steps: Annotated[int, typer.Option(min=1, help="Optimiser steps per turn.")] = 2,
    compiled: Annotated[bool, typer.Option("--compile", help="Compile our encoder, as compile = true does.")] = False,
    out: Annotated[Path, typer.Option(help="Folder of the records.")] = Path("benchmarks/results"),
) -> None:
    """LN-tuning: images/s and peak memory of ours, the papers' loop and full fine-tuning."""
    from benchmarks.training_loops import Setting
    from benchmarks.training_speed import run_training

    setting = Setting(encoder=encoder, batch_size=batch_size, compile=compiled, threads=len(os.sched_getaffinity(0)))
    typer.echo(run_training(setting, rounds, steps, out))


@app.command()
def client_overhead(
    *,
    images: Annotated[int, typer.Option(min=10, help="JPEGs of 1280x720, every file unique.")] = 1000,
    rounds: Annotated[int, typer.Option(min=1, help="How often each way takes its turn.")] = 3,
    out: Annotated[Path, typer.Option(help="Folder of the records.")] = Path("benchmarks/results"),
) -> None:
    """The client: CPU time of its own for each image, with a server that answers at once."""
    from benchmarks.client_overhead import run

    typer.echo(run(images, rounds, out))


@app.command()
def client_memory(
    *,
    listed: Annotated[int, typer.Option(min=1, help="Paths that are listed.")] = 1_000_000,
    scored: Annotated[int, typer.Option(min=2, help="Files that a real server scores, half of them crops.")] = 50_000,
    out: Annotated[Path, typer.Option(help="Folder of the records.")] = Path("benchmarks/results"),
) -> None:
    """The client: does its resident size stay flat?"""
    from benchmarks.client_memory import run_client_memory

    typer.echo(run_client_memory(listed, scored, out))


if __name__ == "__main__":
    run(app)
