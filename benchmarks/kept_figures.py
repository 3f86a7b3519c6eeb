"""The figures of the records: those that a record names, and those that follow from records that name none.

``training``, ``client`` and ``client_memory`` were recorded before records named their figures. Records
are never changed, so theirs are derived here, from the rows and samples they hold.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.records import RESULTS, Figure
from lnclip.errors import LnclipError

ORDER = (
    "encoder",
    "serving_images",
    "serving_crops",
    "pipeline",
    "accuracy",
    "training",
    "client",
    "client_memory",
    "tune",
)
"""Of the benchmarks in a table; others follow by name."""

FLAT = 0.05
"""Growth of the resident size, second quarter of a run to its last, that still counts as none."""

Content = dict[str, Any]


class Record(NamedTuple):
    """One run of a benchmark."""

    path: Path
    """Of its JSON file."""

    content: Content

    @property
    def benchmark(self) -> str:
        """Its name."""
        return str(self.content["benchmark"])

    @property
    def utc(self) -> str:
        """When it was written, "2026-11-21T21:45:01+00:00": the later, the greater."""
        return str(self.content["utc"])

    @property
    def machine(self) -> str:
        """The GPU where there is one, else the processor and its cores."""
        found = self.content["machine"]
        return str(found["gpu"] or f"{found['processor']}, {found['cores']} cores")

    @property
    def figures(self) -> list[Figure]:
        """The most important first; none when it has none to show."""
        if "figures" in self.content:
            return [Figure(**each) for each in self.content["figures"]]
        derive = DERIVED.get(self.benchmark)
        return derive(self.content) if derive else []


def newest_records(folder: Path = RESULTS) -> list[Record]:
    """The last record of each benchmark, on a GPU and without one, in the order of ``ORDER``.

    A GPU's figures do not replace a processor's: they answer another question.

    Raises:
        LnclipError: a file in the folder is no record.
    """
    newest: dict[tuple[str, str | None], Record] = {}
    for path in sorted(folder.glob("*.json")):
        record = _read(path)
        key = (record.benchmark, record.content["machine"]["gpu"])
        if key not in newest or newest[key].utc <= record.utc:
            newest[key] = record
    return sorted(newest.values(), key=_place)


def _read(path: Path) -> Record:
    try:
        record = Record(path, json.loads(path.read_bytes()))
        _ = record.benchmark, record.utc, record.machine, record.figures
    except (ValueError, KeyError, TypeError) as error:
        raise LnclipError(f"{path} is no record of a benchmark: {error!r}") from error
    return record


def _place(record: Record) -> tuple[int, str, str]:
    name = record.benchmark
    return ORDER.index(name) if name in ORDER else len(ORDER), name, record.machine


def _training(content: Content) -> list[Figure]:
    """Ours against the papers' loop and against full fine-tuning; no figure is required."""
    rows = {row["variant"]: row for row in content["rows"]}
    settings = content["settings"]
    what = f"LN-tuning {settings['encoder']}, batch {settings['batch_size']}, against"
    share = rows["ours"]["peak_gib"] / rows["full"]["peak_gib"]
    return [
        Figure(f"{what} the papers' loop", f"{rows['papers']['ratio']:.2f}x images/s"),
        Figure(f"{what} full fine-tuning", f"{rows['full']['ratio']:.2f}x images/s, {share:.0%} of the memory"),
    ]


def _client(content: Content) -> list[Figure]:
    """CPU time of the client's own process, as fast as it can."""
    from benchmarks.client_overhead import ALLOWED_MS

    [cost] = [row["cpu_ms"] for row in content["rows"] if row["what"] == "client score"]
    width, height = content["settings"]["size"]
    what = f"client's own CPU time for a {width}x{height} JPEG"
    return [Figure(what, f"{cost:.2f} ms", f"at most {ALLOWED_MS:.1f} ms", cost <= ALLOWED_MS)]


def _client_memory(content: Content) -> list[Figure]:
    """The peak of all stages, and what the one that grew most grew by."""
    from benchmarks.client_memory import Growth

    grown = [Growth(**sample) for sample in content["samples"]]
    growth = max(last / second - 1 for second, last in (each.quarters_mb for each in grown))
    scored = sum(each.inputs for each in grown if each.what.startswith("scoring"))
    what = f"client memory while scoring {scored:,} files"
    figure = f"{max(each.peak_mb for each in grown):.0f} MB at most, {growth:+.1%} from second to last quarter"
    return [Figure(what, figure, "flat in the number of files", growth <= FLAT)]


DERIVED: dict[str, Callable[[Content], list[Figure]]] = {
    "training": _training,
    "client": _client,
    "client_memory": _client_memory,
}
"""Benchmark -> figures of a record that names none."""
