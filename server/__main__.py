"""python -m server: make the repository, start and stop the embedded Triton, look at it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from lnclip.artifact import Flavour
from lnclip.commands import run
from lnclip.running import RUN_DIR
from server.repository import REPOSITORY

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)

Repository = Annotated[Path, typer.Option(help="Folder that Triton serves.")]
RunDir = Annotated[Path, typer.Option(help="Where the server's record and log lie.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
Port = Annotated[int | None, typer.Option(min=1, max=65535, help="By default any free one.")]


@app.command()
def init(repository: Repository = REPOSITORY) -> None:
    """Make or refresh the served repository from model_repository/; what was published stays."""
    from server.repository import init_repository

    init_repository(repository)
    typer.echo(repository)


@app.command()
def start(
    repository: Repository = REPOSITORY,
    *,
    flavour: Annotated[Flavour, typer.Option(help="Which configs: cpu (gpu is the container's).")] = "cpu",
    http_port: Port = None,
    grpc_port: Port = None,
    metrics_port: Port = None,
    run_dir: RunDir = RUN_DIR,
) -> None:
    """Start Triton on 127.0.0.1, return when all models are ready, and leave it running."""
    from server.embedded import StartOptions
    from server.embedded import start as start_server

    options = StartOptions(
        repository,
        flavour=flavour,
        http_port=http_port,
        grpc_port=grpc_port,
        metrics_port=metrics_port,
        run_dir=run_dir,
    )
    server = start_server(options)
    typer.echo(f"ready: gRPC {server.grpc_url}, HTTP {server.http_url}, metrics {server.metrics_url}, pid {server.pid}")


@app.command()
def stop(run_dir: RunDir = RUN_DIR) -> None:
    """Stop Triton: work in flight is finished first."""
    from server.embedded import stop as stop_server

    stop_server(run_dir)
    typer.echo("stopped")


@app.command()
def status(run_dir: RunDir = RUN_DIR, as_json: AsJson = False) -> None:
    """Say what runs and how it is; exit status 1 when nothing runs or something is wrong."""
    from server.status import describe, inspect

    found = inspect(run_dir)
    typer.echo(found.model_dump_json(indent=2) if as_json else describe(found))
    raise typer.Exit(0 if found.is_well else 1)


@app.command()
def doctor(repository: Repository = REPOSITORY, run_dir: RunDir = RUN_DIR, as_json: AsJson = False) -> None:
    """Examine this machine, both environments and the server; exit status 1 when there is a problem."""
    from server.doctor import examine

    findings = []
    for finding in examine(repository, run_dir):
        findings.append(finding)
        if not as_json:
            typer.echo(f"{'ok     ' if finding.ok else 'PROBLEM'} {finding.subject:<16} {finding.text}")
    if as_json:
        typer.echo(json.dumps([finding._asdict() for finding in findings], indent=2))
    raise typer.Exit(0 if all(finding.ok for finding in findings) else 1)


if __name__ == "__main__":
    run(app)
