"""What the command's flags are called, and how their texts are read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, get_args

import numpy as np
import typer

from benchmarks.serving.measured import Load
from benchmarks.serving.measuring import Mode
from lnclip.artifact import Precision
from lnclip.errors import ConfigError

MOST_LOADS = 100

Encoder = Annotated[str, typer.Option(help="Random weights of it: trained ones have the same cost.")]
Rounds = Annotated[int, typer.Option(min=1, help="How often each takes its turn.")]
Work = Annotated[Path | None, typer.Option(help="Folder of the random model; default: build/benchmarks/ENCODER.")]
Records = Annotated[Path, typer.Option(help="Folder of the records.")]
HowToAsk = Annotated[Mode, typer.Option(help="images: the ensemble; crops: the encoder alone.")]
Url = Annotated[
    str | None,
    typer.Option(metavar="HOST:PORT", help="Triton's gRPC address; default: the server running from here."),
]
HttpUrl = Annotated[
    str | None,
    typer.Option(metavar="HOST:PORT", help="Its HTTP address, for statistics; default: the port before --url's."),
]


def work_of(encoder: str) -> Path:
    """Where an encoder's random model is kept from one benchmark to the next."""
    return Path("build/benchmarks") / encoder


def numbers(text: str) -> list[int]:
    """``1,8,32``.

    Raises:
        ConfigError: something else.
    """
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise ConfigError(f"{text!r} is no list of numbers: write 1,8,32") from error


def precisions(text: str) -> list[Precision]:
    """``fp32,int8``.

    Raises:
        ConfigError: one is none.
    """
    known = {str(precision): precision for precision in get_args(Precision)}
    unknown = [part for part in text.split(",") if part not in known]
    if unknown:
        raise ConfigError(f"{', '.join(unknown)}: precisions are {', '.join(known)}")
    return [known[part] for part in text.split(",")]


def loads(kind: Literal["concurrency", "request_rate"], text: str | None) -> list[Load]:
    """``START:END:STEP``, END included, as perf_analyzer has it; END and STEP may be left out.

    Raises:
        ConfigError: something else.
    """
    if text is None:
        return []
    try:
        start, *rest = map(float, text.split(":"))
        end, step = [*rest, *(start, 1.0)[len(rest) :]]
        values = np.arange(start, end + 1e-9, step)
    except (ValueError, ZeroDivisionError) as error:
        raise ConfigError(f"{text!r} is no range: write START:END:STEP, such as 1:16:5") from error
    if not len(values) or len(values) > MOST_LOADS:
        raise ConfigError(f"{text!r} holds {len(values)} loads: 1 to {MOST_LOADS}, START:END:STEP")
    return [Load(kind, float(value)) for value in values]


def check_one_server(encoder: str | None, url: str | None, http_url: str | None) -> None:
    """Flags that name the server to measure must name one.

    Raises:
        ConfigError: they contradict each other.
    """
    if encoder is not None and url is not None:
        raise ConfigError("--url measures a server that runs, --encoder starts one: give one of them")
    if http_url is not None and url is None:
        raise ConfigError("--http-url says where the server at --url has its statistics: give --url too")
