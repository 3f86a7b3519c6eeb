"""The figures of the records: those that a record names, and those that follow from records that name none.

``training``, ``client`` and ``client_memory`` were recorded before records named their figures. Records
are never changed, so theirs are derived here, from the rows and samples they hold.

Of each claim the newest figures count: a run of another encoder, precision or mode hides nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from benchmarks.encoder_speed.targets import TARGETED
from benchmarks.records import RESULTS, Figure, computed_by
from lnclip.architecture import KNOWN
from lnclip.artifact import Precision
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

NAMES = frozenset({*KNOWN, *get_args(Precision), "images", "crops"})
"""Words of a figure that tell two claims apart wherever they stand: encoders, precisions, modes."""

NAMELESS = ("ready crops through the server", "whole ensemble", "accuracy of")
"""Begin the figures that left it to their record's settings which encoder they are of."""

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
    def figures(self) -> list[Figure]:
        """The most important first; none when it has none to show."""
        if "figures" in self.content:  # the first ones did not say what computed them: the GPU where there was one
            device = "cuda" if self.content["machine"]["gpu"] else "cpu"
            return [_named(Figure(**{"device": device, **each}), self.content) for each in self.content["figures"]]
        derive = DERIVED.get(self.benchmark)
        return derive(self.content) if derive else []


class Shown(NamedTuple):
    """One figure of one record: a row of a table."""

    record: Record
    figure: Figure

    @property
    def machine(self) -> str:
        """What computed it."""
        return computed_by(self.figure, self.record.content["machine"])

    @property
    def claim(self) -> tuple[object, ...]:
        """What it is a figure of: the newest record that says anything of a claim says all of it.

        Its words up to the first comma, and the names among the others: what else they say, such as the
        load of the best throughput, may change from run to run. A GPU's figures do not replace a processor's.
        """
        gpu = self.record.content["machine"]["gpu"] if self.figure.device == "cuda" else None
        return self.record.benchmark, gpu, self.figure.what.partition(",")[0], _names(self.figure)

    @property
    def is_of_another_encoder(self) -> bool:
        """Whether it names one, and not the one that the targets are for."""
        return bool(_names(self.figure) & (KNOWN.keys() - {TARGETED}))


def newest_figures(folder: Path = RESULTS) -> list[Shown]:
    """The last figures of each claim, in the order of ``ORDER``.

    Raises:
        LnclipError: a file in the folder is no record.
    """
    records = sorted(map(_read, folder.glob("*.json")), key=lambda record: (record.utc, record.path))
    everything = [Shown(record, figure) for record in records for figure in record.figures]
    newest = {shown.claim: shown.record.path for shown in everything}
    return sorted((shown for shown in everything if newest[shown.claim] == shown.record.path), key=_place)


def _read(path: Path) -> Record:
    try:
        record = Record(path, json.loads(path.read_bytes()))
        _ = record.benchmark, record.utc, record.content["machine"]["gpu"]
        _ = [Shown(record, figure).machine for figure in record.figures]
    except (ValueError, KeyError, TypeError) as error:
        raise LnclipError(f"{path} is no record of a benchmark: {error!r}") from error
    return record


def _place(shown: Shown) -> tuple[int, str, str, bool]:
    name = shown.record.benchmark
    return ORDER.index(name) if name in ORDER else len(ORDER), name, shown.machine, shown.is_of_another_encoder


def _names(figure: Figure) -> frozenset[str]:
    return NAMES.intersection(re.findall(r"[\w-]+", figure.what))


def _named(figure: Figure, content: Content) -> Figure:
    """With its encoder, and the precision that was served, where its words do not name them but its settings do."""
    if not figure.what.startswith(NAMELESS) or _names(figure) & KNOWN.keys():
        return figure
    settings = content["settings"]
    served = [each for each in settings.get("precisions", ()) if each not in content["not_here"]]
    return figure._replace(what=f"{figure.what}, {' '.join([settings['encoder'], *served[:1]])}")


def _training(content: Content) -> list[Figure]:
    """Ours against the papers' loop and against full fine-tuning, on the GPU where there is one; none is required."""
    device: Literal["cpu", "cuda"] = "cuda" if content["machine"]["gpu"] else "cpu"
    rows = {row["variant"]: row for row in content["rows"]}
    settings = content["settings"]
    what = f"LN-tuning {settings['encoder']}, batch {settings['batch_size']}, against"
    share = rows["ours"]["peak_gib"] / rows["full"]["peak_gib"]
    return [
        Figure(f"{what} the papers' loop", f"{rows['papers']['ratio']:.2f}x images/s", device=device),
        Figure(
            f"{what} full fine-tuning",
            f"{rows['full']['ratio']:.2f}x images/s, {share:.0%} of the memory",
            device=device,
        ),
    ]


def _client(content: Content) -> list[Figure]:
    """CPU time of the client's own process, as fast as it can."""
    from benchmarks.client_overhead import ALLOWED_MS

    [cost] = [row["cpu_ms"] for row in content["rows"] if row["what"] == "client score"]
    width, height = content["settings"]["size"]
    what = f"client's own CPU time for a {width}x{height} JPEG"
    return [Figure(what, f"{cost:.2f} ms", f"at most {ALLOWED_MS:.1f} ms", cost <= ALLOWED_MS)]


def _client_memory(content: Content) -> list[Figure]:
    from benchmarks.client_memory import Growth, judged

    return [judged([Growth(**sample) for sample in content["samples"]], content["limit_mb"])]


DERIVED: dict[str, Callable[[Content], list[Figure]]] = {
    "training": _training,
    "client": _client,
    "client_memory": _client_memory,
}
"""Benchmark -> figures of a record that names none."""
