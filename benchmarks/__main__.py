"""python -m benchmarks: the demo (figures follow)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lnclip.commands import run

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__)


@app.callback()
def commands() -> None:
    """Keep `demo` a sub-command while it is the only one."""


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder that is made anew for it.")] = Path("demo"),
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override one key of the training config.")
    ] = None,
) -> None:
    """Everything once, with nothing but packages: data, training, export, server, scores, report."""
    from benchmarks.demo import run_demo

    typer.echo(run_demo(out, settings or []))


if __name__ == "__main__":
    run(app)
