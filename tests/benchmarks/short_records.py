"""Records as ``write_record`` leaves them, as far as the tables read them."""

from __future__ import annotations

import json
import re
from pathlib import Path

from benchmarks.records import Figure


def write(folder: Path, stem: str, *figures: Figure | dict[str, str], gpu: str | None = None, **more: object) -> Path:
    """One of them; the second word of its name is the benchmark."""
    date, _, name = stem.partition("_")
    content = {
        "benchmark": re.sub(r"_\d+$", "", name),
        "utc": f"{date}T10:00:00+00:00",
        "machine": {"processor": "Abacus", "cores": 2, "gpu": gpu},
        "figures": [each._asdict() if isinstance(each, Figure) else each for each in figures or [Figure("what", "1x")]],
        **more,
    }
    path = folder / f"{stem}.json"
    path.write_text(json.dumps(content))
    return path
