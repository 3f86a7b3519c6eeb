"""The page's file: the rows are read once as a stream, and what is shown of them is written as JSON beside the scripts.

Nothing of a row becomes markup: the page's own scripts put it there as text.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from string import Template

from pydantic import JsonValue

from client.readers import read_rows
from client.report.compact import compact_row, to_json
from client.report.pictures import Picture, make_pictures
from client.report.selection import Highest
from client.report.tally import Tally, as_text
from client.rows import Row
from client.run_settings import recorded_settings
from lnclip.errors import ConfigError

MAX_ROWS = 200_000
"""In the page's table; counts cover all."""

MAX_ROW_BYTES = 100_000_000
"""Of their JSON: long videos and many columns make large rows."""

MAX_PICTURES = 300
"""Of about 10 KB each."""

SOURCES = Path(__file__).with_name("page")
SCRIPTS = ("elements.js", "summary.js", "rows.js", "timeline.js", "detail.js", "table.js", "page.js")
"""Parts of one module, in this order."""


@dataclass(frozen=True, kw_only=True)
class Contents:
    """What a page shows."""

    tally: Tally = field(default_factory=Tally)
    rows: Highest[str] = field(default_factory=lambda: Highest[str](MAX_ROWS, MAX_ROW_BYTES))
    """As compact JSON."""

    pictured: Highest[Row] = field(default_factory=lambda: Highest[Row](MAX_PICTURES, MAX_ROW_BYTES))


def write_report(results: Path, out: Path, note: str = "") -> None:
    """Write the page.

    Args:
        results: file of ``client score``; the images are looked for where it says, seen from here.
        out: the page.
        note: shown at the top; empty for none.

    Raises:
        ConfigError: the rows cannot be read, the page cannot be written, or it would replace the rows.
    """
    if out.exists() and results.exists() and out.samefile(results):
        raise ConfigError(f"--out {out} is the result file itself: give the page another name")
    contents = _read(results)
    temporary = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        with temporary.open("w", encoding="utf-8", newline="\n") as file:
            file.writelines(_page(contents, _heading(results, note)))
        temporary.replace(out)
    except OSError as error:
        raise ConfigError(f"{out} cannot be written: {error.strerror}") from error
    finally:
        temporary.unlink(missing_ok=True)


def _read(results: Path) -> Contents:
    contents = Contents()
    for number, row in enumerate(read_rows(results)):
        model = contents.tally.add(row)
        rank = -1.0 if row.p_fake is None else row.p_fake
        if contents.rows.wants(rank, number):
            text = compact_row(row, model)
            contents.rows.add(rank, number, text, len(text))
        if row.status != "error" and row.path and contents.pictured.wants(rank, number):
            contents.pictured.add(rank, number, row)
    return contents


def _heading(results: Path, note: str) -> dict[str, JsonValue]:
    written = datetime.fromtimestamp(results.stat().st_mtime, UTC)
    settings: list[JsonValue] = [
        [name, as_text(value)] for name, value in recorded_settings(results).items() if value is not None
    ]
    return {"results": results.name, "written": f"{written:%Y-%m-%d %H:%M} UTC", "note": note, "settings": settings}


def _page(contents: Contents, heading: dict[str, JsonValue]) -> Iterator[str]:
    """The file in pieces, so that a large one is never whole in memory."""
    sources = {name: (SOURCES / name).read_text(encoding="utf-8") for name in ("page.html", "page.css", *SCRIPTS)}
    style, script = sources["page.css"], "\n".join(sources[name] for name in SCRIPTS)
    page = Template(sources["page.html"]).substitute(
        style=style, style_hash=_csp_hash(style), script=script, script_hash=_csp_hash(script)
    )
    before, after = page.split("<!-- data -->")
    yield before
    yield from _element("rows", _rows(contents.rows))
    counts = Counter[str]()
    yield from _element("pictures", _pictures(contents, counts))
    yield from _element("summary", [to_json(heading | _summary(contents, counts))])
    yield after


def _element(name: str, json_text: Iterator[str] | list[str]) -> Iterator[str]:
    yield f'<script type="application/json" id="{name}">'
    yield from json_text
    yield "</script>\n"


def _rows(rows: Highest[str]) -> Iterator[str]:
    separator = "["
    for _, text in rows.in_order():
        yield separator + text
        separator = ",\n"
    yield "]" if len(rows) else "[]"


def _pictures(contents: Contents, counts: Counter[str]) -> Iterator[str]:
    """An object from the index of a row to its picture; ``counts`` learns what became of them."""
    indices = {number: index for index, (number, _) in enumerate(contents.rows.in_order())}
    wanted = [(indices[number], row) for number, row in contents.pictured.in_order() if number in indices]
    pictures: dict[str, JsonValue] = {}
    for (index, _), picture in zip(wanted, make_pictures(row for _, row in wanted), strict=True):
        if isinstance(picture, Picture):
            pictures[str(index)] = picture.to_page()
        counts["shown" if isinstance(picture, Picture) else picture] += 1
    yield to_json(pictures)


def _summary(contents: Contents, pictures: Counter[str]) -> dict[str, JsonValue]:
    tally = contents.tally
    return {
        "total": tally.total,
        "statuses": dict(tally.statuses),
        "verdicts": dict(tally.verdicts),
        "kinds": dict(tally.kinds),
        "histogram": list(tally.histogram),
        "images": list(tally.images),
        "faces": list(tally.faces),
        "most_faces": tally.most_faces,
        "reasons": [[code, reason.count, [list(example) for example in reason.examples]]
                    for code, reason in sorted(tally.reasons.items(), key=lambda item: -item[1].count)],
        "models": tally.models(),
        "pictures": dict(pictures),
    }  # fmt: skip


def _csp_hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
