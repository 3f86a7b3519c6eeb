"""Files with the same content are asked about once: the row of the first is the answer for the others."""

from __future__ import annotations

from collections import OrderedDict

from client.reading import ReadFile
from client.rows import Row

MOST = 4096
"""Contents that are remembered, the latest."""


class KnownAnswers:
    """Rows of images by their content, as the model that answered last sees them."""

    def __init__(self, most: int = MOST) -> None:
        """``most``: contents."""
        self._most = most
        self._rows: OrderedDict[str, Row] = OrderedDict()
        self._artifact_id: object = None

    def row(self, file: ReadFile, elapsed_ms: float) -> Row | None:
        """What this file's row will be, if its content was scored before."""
        if file.facts.kind != "image" or file.facts.sha256 is None or file.facts.sha256 not in self._rows:
            return None
        self._rows.move_to_end(file.facts.sha256)
        known = self._rows[file.facts.sha256]
        return known.model_copy(update={**file.facts._asdict(), "elapsed_ms": elapsed_ms})

    def keep(self, row: Row) -> None:
        """Remember it, unless it has no answer to give; another model's are forgotten."""
        if row.kind != "image" or row.sha256 is None or row.model is None or row.status == "error":
            return
        artifact_id = row.model.get("artifact_id")
        if artifact_id != self._artifact_id:
            self._artifact_id = artifact_id
            self._rows.clear()
        self._rows[row.sha256] = row
        if len(self._rows) > self._most:
            self._rows.popitem(last=False)
