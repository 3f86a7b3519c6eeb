"""What all rows add up to, however many there are: counts, histogram, rates, reasons, models."""

from __future__ import annotations

import json
import math
from collections import Counter
from typing import NamedTuple

from pydantic import JsonValue

from client.rows import Row, RowError

NUM_BINS = 50
"""Of the histogram: 0.02 of p_fake each."""

MAX_EXAMPLES = 5
"""Files that are named under a reason."""

LONGEST_TEXT = 500
"""Characters of a server's or a user's text that the page quotes."""

FIRST_FACTS = ("name", "precision", "artifact_id", "spec_id", "detector", "threshold")
"""What is said first of a model, in this order; everything else it says of itself follows."""


def threshold_of(row: Row) -> float | None:
    """From which p_fake the model that answered says fake; None when it does not say."""
    return _threshold(row.model or {})


def as_text(value: JsonValue) -> str:
    """A value for reading: text as it is, anything else as JSON."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST_TEXT else text[:LONGEST_TEXT] + "…"


class Share(NamedTuple):
    """So many of so many."""

    part: int = 0
    whole: int = 0

    def plus(self, part: int, whole: int) -> Share:
        """With some more."""
        return Share(self.part + part, self.whole + whole)


class Reason:
    """The errors of one code."""

    def __init__(self) -> None:
        self.count = 0
        self.examples: list[tuple[str, str]] = []
        """Path and message."""

    def add(self, path: str, error: RowError) -> None:
        """One more; the first few are quoted."""
        self.count += 1
        if len(self.examples) < MAX_EXAMPLES:
            self.examples.append((path, as_text(error.message)))


class Tally:
    """Sums over rows that need no row afterwards."""

    def __init__(self) -> None:
        self.total = 0
        self.statuses = Counter[str]()
        self.verdicts = Counter[str]()
        self.kinds = Counter[str]()
        self.histogram = [0] * NUM_BINS
        self.images = Share()
        """Images with a face called fake, of images with a face."""

        self.faces = Share()
        """Their faces at or above the threshold, of their faces."""

        self.most_faces = 0
        """Of one image."""

        self.reasons: dict[str, Reason] = {}
        self._models: dict[str, int] = {}
        self.uses: list[int] = []
        """Rows that each model answered, in the order of ``models``."""

    def add(self, row: Row) -> int | None:
        """Count a row; which of ``models`` answered it, or None."""
        self.total += 1
        self.statuses[row.status] += 1
        self.kinds[row.kind] += 1
        if row.verdict is not None:
            self.verdicts[row.verdict] += 1
        if row.p_fake is not None:
            self.histogram[min(int(row.p_fake * NUM_BINS), NUM_BINS - 1)] += 1
        if row.error is not None:
            self.reasons.setdefault(row.error.code, Reason()).add(row.path, row.error)
        self._add_rates(row)
        return self._add_model(row)

    def _add_rates(self, row: Row) -> None:
        threshold = threshold_of(row)
        if not row.faces or threshold is None:  # a video's faces are in its frames: it is not counted here
            return
        self.images = self.images.plus(row.verdict == "fake", 1)
        self.faces = self.faces.plus(sum(face.p_fake >= threshold for face in row.faces), len(row.faces))
        self.most_faces = max(self.most_faces, len(row.faces))

    def _add_model(self, row: Row) -> int | None:
        if row.model is None:
            return None
        number = self._models.setdefault(json.dumps(row.model), len(self._models))
        if number == len(self.uses):
            self.uses.append(0)
        self.uses[number] += 1
        return number

    def models(self) -> list[JsonValue]:
        """Each model that answered as the page shows it: facts and settings are pairs of a label and a text."""
        return [
            {"rows": rows, **_described(json.loads(text))} for text, rows in zip(self._models, self.uses, strict=True)
        ]


def _described(model: dict[str, JsonValue]) -> dict[str, JsonValue]:
    spec = model.get("spec")
    rest = [name for name in model if name not in FIRST_FACTS and not (name == "spec" and isinstance(spec, dict))]
    return {
        "name": as_text(model.get("name", "")),
        "threshold": _threshold(model),
        "facts": [[name, as_text(model[name])] for name in (*FIRST_FACTS, *rest) if name in model],
        "settings": [[name, as_text(value)] for name, value in spec.items()] if isinstance(spec, dict) else [],
    }


def _threshold(model: dict[str, JsonValue]) -> float | None:
    threshold = model.get("threshold")
    return float(threshold) if isinstance(threshold, int | float) and math.isfinite(threshold) else None
