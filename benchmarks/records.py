"""How a figure is kept: results/DATE_name.json with everything, .md with the tables, .png with the plot.

A record is never overwritten: a second one of the day gets a number.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from lnclip.engines import processor

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Plot

RESULTS = Path(__file__).parent / "results"
FIGURE_COLUMNS = ("what", "figure", "target", "met")


class Figure(NamedTuple):
    """One result in words, as README's table shows it."""

    what: str
    """Was measured: "encoder, int8, batch 8, against eager FP32"."""

    figure: str
    """With its unit: "7.3x"."""

    target: str = "-"
    """Of DESIGN, in the figure's words: "at least 7x"; "-" where nothing is required."""

    met: bool | None = None
    """None where nothing is required, or where this run could not show it."""

    device: Literal["cpu", "cuda"] = "cpu"
    """What computed it: the processor, whatever else the machine has, or its GPU."""


def machine() -> dict[str, object]:
    """What the figures were measured on: processor, cores, memory, and a GPU that they may or may not be of."""
    import torch

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory / 2**30, 1),
        "gpu": gpu,
        "python": platform.python_version(),
    }


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table, columns aligned so that it reads well on a terminal too."""
    cells = [[str(cell) for cell in row] for row in (columns, *rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(columns))]
    lines = ["| " + " | ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) + " |" for row in cells]
    return "\n".join([lines[0], "|" + "|".join("-" * (w + 2) for w in widths) + "|", *lines[1:]])


def figure_cells(figure: Figure) -> tuple[str, str, str, str]:
    """A row under ``FIGURE_COLUMNS``."""
    words = [each.replace("|", "\\|") for each in figure[:3]]
    return words[0], words[1], words[2], {None: "-", True: "yes", False: "**no**"}[figure.met]


def computed_by(figure: Figure, on: Mapping[str, object]) -> str:
    """Whose figure it is: the GPU, or the processor and its cores.

    Args:
        figure: of a record.
        on: the record's ``machine()``.
    """
    return str(on["gpu"]) if figure.device == "cuda" else f"{on['processor']}, {on['cores']} cores"


def _version(package: str) -> str | None:
    """None: it is not installed, and had no part in the figures."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def write_record(
    name: str,
    record: Mapping[str, object],
    text: str,
    figure: Plot,
    *,
    packages: Sequence[str],
    folder: Path = RESULTS,
    figures: Sequence[Figure] = (),
) -> Path:
    """Keep one run of a benchmark; the path of its JSON file.

    Args:
        name: of the benchmark.
        record: settings, raw samples and what follows from them.
        text: Markdown under the heading.
        figure: closed when it is written.
        packages: whose versions can change the figures.
        folder: where records are kept.
        figures: for README's table; also shown above the text.

    Raises:
        ValueError: the record holds what is no number, or nothing that JSON knows.
    """
    import matplotlib.pyplot as plt

    from training.provenance import git_revision

    now, on = datetime.now(UTC), machine()
    stem, number = f"{now:%Y-%m-%d}_{name}", 1
    folder.mkdir(parents=True, exist_ok=True)
    while (folder / f"{stem}.json").exists():
        number += 1
        stem = f"{now:%Y-%m-%d}_{name}_{number}"
    kept = {
        "benchmark": name,
        "utc": now.isoformat(timespec="seconds"),
        "machine": on,
        "versions": {package: _version(package) for package in packages},
        "git_revision": git_revision(),
        **record,
    }
    if figures:
        kept["figures"] = [{**each._asdict(), "met": None if each.met is None else bool(each.met)} for each in figures]
        rows = [(*figure_cells(each), computed_by(each, on)) for each in figures]
        text = f"{table((*FIGURE_COLUMNS, 'machine'), rows)}\n\n{text}"
    content = json.dumps(kept, indent=2, allow_nan=False) + "\n"  # before the first file: all three or none
    figure.savefig(folder / f"{stem}.png", dpi=120, bbox_inches="tight")
    plt.close(figure)
    heading = ", ".join(f"{key} {value}" for key, value in on.items() if value is not None)
    (folder / f"{stem}.md").write_text(f"# {name}, {now:%Y-%m-%d}\n\n{heading}\n\n{text}\n", encoding="utf-8")
    path = folder / f"{stem}.json"
    path.write_text(content, encoding="utf-8")
    return path
