"""What ``prepare`` says of its inputs."""

from __future__ import annotations

import csv
from pathlib import Path


def report_of(out: Path) -> dict[str, dict[str, str]]:
    """Rows of a report.csv of prepare by the names of their files."""
    with (out / "report.csv").open(newline="") as file:
        return {Path(row["path"]).name: row for row in csv.DictReader(file)}
