"""What the command's flags are called and what their help says."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from lnclip.sampling import Sampling
from lnclip.scoring import Aggregate

SERVER, FACES, VIDEO, CROPS, OTHER = "Server", "Faces", "Video", "Ready crops", "Without the ensemble"

Inputs = Annotated[
    list[str],
    typer.Argument(
        metavar="PATH...",
        help="Images, videos, folders, globs, URLs, lists (.txt), tables (.csv, .parquet, .jsonl), - for stdin.",
    ),
]
Out = Annotated[Path, typer.Option(help="Result file; the ending picks the format: .jsonl, .csv, .parquet.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with an interrupted run; score what is new or changed.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an existing result file.")]
PathColumn = Annotated[str, typer.Option(metavar="NAME", help="Of a table: the column that holds the paths.")]

ScoreDuplicates = Annotated[
    bool, typer.Option("--score-duplicates", help="Send every image, also one whose content was scored before.")
]

Urls = Annotated[
    list[str] | None,
    typer.Option(
        "--url",
        metavar="HOST:PORT",
        help="Triton's gRPC address, again for each further server; default: the server running from here.",
        rich_help_panel=SERVER,
    ),
]
Concurrency = Annotated[
    str,
    typer.Option(metavar="N|auto", help="Requests in flight; auto finds how many pay off.", rich_help_panel=SERVER),
]
TimeoutS = Annotated[float, typer.Option(min=0.1, help="Deadline of one request, seconds.", rich_help_panel=SERVER)]
Retries = Annotated[int, typer.Option(min=0, help="Of one request, when a server fails.", rich_help_panel=SERVER)]
PatienceS = Annotated[
    float, typer.Option(min=0, help="How long to wait for a server to come back, seconds.", rich_help_panel=SERVER)
]

MaxFaces = Annotated[
    int | None, typer.Option(min=1, help="Per image, largest first; server default: 8.", rich_help_panel=FACES)
]
MinFacePx = Annotated[
    float | None,
    typer.Option(min=0, help="Shortest side of the smallest face; server default: 32.", rich_help_panel=FACES),
]
DetectorThreshold = Annotated[
    float | None,
    typer.Option(min=0, max=1, help="Lowest detector score; default: the detector's own.", rich_help_panel=FACES),
]
HowToAggregate = Annotated[
    Aggregate | None, typer.Option(help="From faces to the image; server default: max.", rich_help_panel=FACES)
]
MaxSide = Annotated[
    int | None,
    typer.Option(
        min=64, help="Shrink larger images to it before sending, pixels; default: sent as they are.",
        rich_help_panel=FACES,
    ),
]  # fmt: skip

Frames = Annotated[int, typer.Option(min=1, help="Of a video, at most.", rich_help_panel=VIDEO)]
HowToSample = Annotated[
    Sampling,
    typer.Option(
        help="uniform: evenly; stride: every --stride-th; spread: farthest apart, until so many have a face.",
        rich_help_panel=VIDEO,
    ),
]
Stride = Annotated[int, typer.Option(min=1, help="With --sampling stride.", rich_help_panel=VIDEO)]
VideoRule = Annotated[
    Literal["track", "frames", "paper"],
    typer.Option(
        help="track: largest mean of a followed face; frames: mean of all; paper: mean of each frame's largest face.",
        rich_help_panel=VIDEO,
    ),
]

Crops = Annotated[
    bool, typer.Option("--crops", help="The files are aligned face crops: no detector.", rich_help_panel=CROPS)
]
CropBatch = Annotated[int, typer.Option(min=1, help="Crops in one request to the encoder.", rich_help_panel=CROPS)]
Spec = Annotated[
    Path | None, typer.Option(help="model.json of the served weights, if not default.", rich_help_panel=CROPS)
]

TwoCalls = Annotated[
    bool,
    typer.Option(
        "--two-calls", help="Cut faces here; call detector and encoder, the latter in batches.", rich_help_panel=OTHER
    ),
]
Local = Annotated[
    bool, typer.Option("--local", help="No server: run the published engines in this process.", rich_help_panel=OTHER)
]
Repository = Annotated[
    Path | None,
    typer.Option(help="With --local: the published models; default: build/repository.", rich_help_panel=OTHER),
]
Ray = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS|local",
        help="Score as a Ray Data job; --out is then a folder of Parquet parts.",
        rich_help_panel=OTHER,
    ),
]
RayWorkers = Annotated[
    int, typer.Option(min=1, help="With --ray: workers, each with a client of its own.", rich_help_panel=OTHER)
]
