"""How a figure is kept: results/DATE_name.json with everything, .md with the table, .png with the plot.

A record is never overwritten: a second one of the day gets a number.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from lnclip.engines import processor

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RESULTS = Path(__file__).parent / "results"


def machine() -> dict[str, object]:
    """What the figures were measured on: processor, cores, memory, GPU."""
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


def write_record(
    name: str,
    record: Mapping[str, object],
    text: str,
    figure: Figure,
    *,
    packages: Sequence[str],
    folder: Path = RESULTS,
) -> Path:
    """Keep one run of a benchmark; the path of its JSON file.

    Args:
        name: of the benchmark.
        record: settings, raw samples and what follows from them.
        text: Markdown under the heading.
        figure: closed when it is written.
        packages: whose versions can change the figures.
        folder: where records are kept.
    """
    import matplotlib.pyplot as plt

    from training.provenance import git_revision

    now = datetime.now(UTC)
    stem, number = f"{now:%Y-%m-%d}_{name}", 1
    folder.mkdir(parents=True, exist_ok=True)
    while (folder / f"{stem}.json").exists():
        number += 1
        stem = f"{now:%Y-%m-%d}_{name}_{number}"
    kept = {
        "benchmark": name,
        "utc": now.isoformat(timespec="seconds"),
        "machine": machine(),
        "versions": {package: version(package) for package in packages},
        "git_revision": git_revision(),
        **record,
    }
    figure.savefig(folder / f"{stem}.png", dpi=120, bbox_inches="tight")
    plt.close(figure)
    heading = ", ".join(f"{key} {value}" for key, value in machine().items() if value is not None)
    (folder / f"{stem}.md").write_text(f"# {name}, {now:%Y-%m-%d}\n\n{heading}\n\n{text}\n", encoding="utf-8")
    path = folder / f"{stem}.json"
    path.write_text(json.dumps(kept, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    return path
