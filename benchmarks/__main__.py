"""python -m benchmarks: the demo, and figures that people can trust."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from benchmarks import flags
from benchmarks.records import RESULTS
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
def encoder(
    *,
    encoder: flags.Encoder = "ViT-L-14",
    batch_sizes: Annotated[str, typer.Option(metavar="N,...", help="Crops in a call.")] = "1,8,32",
    rounds: flags.Rounds = 5,
    work: flags.Work = None,
    out: flags.Records = RESULTS,
) -> None:
    """The encoder in every engine that is here: images/s, TFLOP/s and share of the machine's ceiling."""
    from benchmarks.encoder_speed.run import run_encoder

    typer.echo(run_encoder(encoder, flags.numbers(batch_sizes), rounds, work or flags.work_of(encoder), out))


@app.command(
    epilog="Examples: python -m benchmarks serving --concurrency-range 1:16:5 "
    "\n\npython -m benchmarks serving --request-rate-range 5:20:5 --mode crops"
    "\n\npython -m benchmarks serving --url gpu1:8001 --concurrency-range 16:64:16"
)
def serving(
    *,
    concurrency_range: Annotated[
        str | None, typer.Option(metavar="START:END:STEP", help="Closed loop: requests in flight; default 1:16:5.")
    ] = None,
    request_rate_range: Annotated[
        str | None,
        typer.Option(metavar="START:END:STEP", help="Open loop: starts per second, Poisson; latency from the start."),
    ] = None,
    mode: flags.HowToAsk = "images",
    measurement_interval_s: Annotated[float, typer.Option(min=0.1, help="Of a window.")] = 5.0,
    stability_percentage: Annotated[float, typer.Option(min=0.1, help="Between three windows in turn.")] = 10.0,
    max_trials: Annotated[int, typer.Option(min=3, help="Windows before a load is called unstable.")] = 10,
    percentile: Annotated[
        int | None, typer.Option(min=1, max=99, help="Latency that must be stable; default: the mean.")
    ] = None,
    csv: Annotated[Path | None, typer.Option(help="Also write perf_analyzer's CSV there.")] = None,
    url: flags.Url = None,
    http_url: flags.HttpUrl = None,
    encoder: Annotated[
        str | None, typer.Option(help="In place of a server that runs: start one on random weights of it.")
    ] = None,
    out: flags.Records = RESULTS,
) -> None:
    """A server under load: throughput and latency as perf_analyzer measures them, split by model."""
    from benchmarks.random_service import random_service
    from benchmarks.serving.run import run_serving
    from benchmarks.serving.served import embedded, given, of_this_machine
    from benchmarks.serving.windows import Windowing

    flags.check_one_server(encoder, url, http_url)
    if concurrency_range is None and request_rate_range is None:
        concurrency_range = "1:16:5"
    loads = [*flags.loads("concurrency", concurrency_range), *flags.loads("request_rate", request_rate_range)]
    windowing = Windowing(
        interval_s=measurement_interval_s,
        stability=stability_percentage / 100,
        max_trials=max_trials,
        percentile=percentile,
    )
    if encoder is None:
        served = embedded(mode) if url is None else given(url, http_url, mode)
        typer.echo(run_serving(served, loads, windowing, csv, out))
        return
    with random_service(flags.work_of(encoder), encoder) as server:
        typer.echo(run_serving(of_this_machine(server, "random", mode), loads, windowing, csv, out))


@app.command()
def pipeline(
    *,
    encoder: flags.Encoder = "ViT-L-14",
    images: Annotated[int, typer.Option(min=4, help="JPEGs of a corpus that is made for it.")] = 24,
    rounds: flags.Rounds = 3,
    precisions: Annotated[str, typer.Option(metavar="P,...", help="That are served beside each other.")] = "fp32",
    concurrency: Annotated[
        str, typer.Option(metavar="N,...", help="Requests in flight at which the server may be saturated.")
    ] = "8,16",
    work: flags.Work = None,
    out: flags.Records = RESULTS,
) -> None:
    """Files to rows: the service beside the papers' path, stage by stage, and what serving itself costs."""
    from benchmarks.pipeline.run import run_pipeline
    from benchmarks.pipeline.turns import Settings

    folder, shares = work or flags.work_of(encoder), Settings(concurrencies=flags.numbers(concurrency))
    served = flags.precisions(precisions)
    typer.echo(run_pipeline(encoder, images, rounds, folder, out, precisions=served, shares=shares))


@app.command()
def accuracy(
    exports: Annotated[Path, typer.Argument(metavar="EXPORT", help="Folder of `export onnx`.")],
    *,
    index: Annotated[Path, typer.Option(help="CSV of labelled crops.")],
    weights: Annotated[
        Path | None, typer.Option("--run", help="It was exported from; default: runs/NAME beside exports/NAME.")
    ] = None,
    out: flags.Records = RESULTS,
) -> None:
    """Every precision of an export against torch FP32: AUROC with its interval, worst difference of p_fake."""
    from benchmarks.accuracy.run import run_accuracy

    typer.echo(run_accuracy(exports, index, run=weights, out=out))


@app.command()
def tune(
    *,
    latency_limit_ms: Annotated[float, typer.Option(min=1, help="Of a request's p99.")],
    repository: Annotated[Path, typer.Option(help="Published models.")] = Path("build/repository"),
    mode: flags.HowToAsk = "images",
    budget_s: Annotated[float, typer.Option(min=1, help="For the search.")] = 1800.0,
    apply: Annotated[bool, typer.Option("--apply", help="Give the repository the settings that were found.")] = False,
    out: flags.Records = RESULTS,
) -> None:
    """Search instance counts, batch, queue delay, threads and streams for the highest throughput here."""
    from benchmarks.tuning.run import run_tune

    typer.echo(run_tune(repository, latency_limit_ms, mode, budget_s, out, apply=apply))


@app.command()
def training(
    *,
    encoder: Annotated[str, typer.Option(help="CLIP encoder, random weights.")] = "ViT-B-16",
    batch_size: Annotated[int, typer.Option(min=2, help="Crops per step.")] = 8,
    rounds: flags.Rounds = 5,
    steps: Annotated[int, typer.Option(min=1, help="Optimiser steps per turn.")] = 2,
    compiled: Annotated[bool, typer.Option("--compile", help="Compile our encoder, as compile = true does.")] = False,
    out: flags.Records = RESULTS,
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
    rounds: flags.Rounds = 3,
    out: flags.Records = RESULTS,
) -> None:
    """The client: CPU time of its own for each image, with a server that answers at once."""
    from benchmarks.client_overhead import run

    typer.echo(run(images, rounds, out))


@app.command()
def client_memory(
    *,
    listed: Annotated[int, typer.Option(min=1, help="Paths that are listed.")] = 1_000_000,
    scored: Annotated[int, typer.Option(min=2, help="Files that a real server scores, half of them crops.")] = 50_000,
    out: flags.Records = RESULTS,
) -> None:
    """The client: does its resident size stay flat?"""
    from benchmarks.client_memory import run_client_memory

    typer.echo(run_client_memory(listed, scored, out))


@app.command()
def readme() -> None:
    """Bring the figures in README.md and benchmarks/README.md, and the plan in docs/OPERATIONS.md, up to date."""
    from benchmarks.readme_table import write_tables

    typer.echo(write_tables())


if __name__ == "__main__":
    run(app)
