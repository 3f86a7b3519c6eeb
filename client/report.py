"""A page to look at: counts, a table and thumbnails in one HTML file that loads nothing from elsewhere."""

from __future__ import annotations

import base64
import io
from collections import Counter
from html import escape
from pathlib import Path
from string import Template
from typing import NamedTuple

from PIL import Image, ImageDraw

from client.readers import read_rows
from client.rows import Row, real_path
from lnclip.errors import ConfigError, ImageError
from lnclip.intake import read_image

MAX_TABLE_ROWS = 2000
"""More than that no browser shows gladly; the result file has them all."""

MAX_THUMBNAILS = 300
THUMBNAIL_PX = 160
COLOURS = {"fake": "#d11", "real": "#191"}


class Counted(NamedTuple):
    """A result file, counted to its end and kept to ``MAX_TABLE_ROWS``."""

    rows: list[Row]
    statuses: Counter[str]
    verdicts: Counter[str]
    models: Counter[str]


def write_report(results: Path, out: Path, note: str = "") -> None:
    """Write the page.

    Args:
        results: file of ``client score``; the images are looked for where it says, seen from here.
        out: the page.
        note: shown at the top; empty for none.

    Raises:
        ConfigError: the rows cannot be read, the page cannot be written, or it would replace the rows.
    """
    if out.exists() and out.samefile(results):
        raise ConfigError(f"--out {out} is the result file itself: give the page another name")
    counted = _count(results)
    template = Template(Path(__file__).with_name("report.html").read_text(encoding="utf-8"))
    total = counted.statuses.total()
    shown = len(counted.rows)
    page = template.substitute(
        title=escape(results.name),
        note=f'<p class="note">{escape(note)}</p>' if note else "",
        total=total,
        statuses=_counts(counted.statuses),
        verdicts=_counts(counted.verdicts),
        models=_counts(counted.models) or "<li>none answered</li>",
        shown="" if shown == total else f"The first {shown} of {total} rows; {escape(str(results))} has them all.",
        rows="\n".join(_table_row(row, with_picture=index < MAX_THUMBNAILS) for index, row in enumerate(counted.rows)),
    )
    try:
        out.write_text(page, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{out} cannot be written: {error.strerror}") from error


def _count(results: Path) -> Counted:
    statuses, verdicts, models = Counter[str](), Counter[str](), Counter[str]()
    rows: list[Row] = []
    for row in read_rows(results):
        if len(rows) < MAX_TABLE_ROWS:
            rows.append(row)
        statuses[row.status] += 1
        if row.verdict:
            verdicts[row.verdict] += 1
        if row.model:
            models[_describe_model(row)] += 1
    return Counted(sorted(rows, key=lambda row: row.path), statuses, verdicts, models)


def _describe_model(row: Row) -> str:
    model = row.model or {}
    facts = [f"{name} {model[name]}" for name in ("artifact_id", "precision", "threshold", "detector") if name in model]
    return f"{model.get('name', 'ready crops')} ({', '.join(facts)})"


def _counts(counter: Counter[str]) -> str:
    return "".join(f"<li><b>{number}</b> {escape(what)}</li>" for what, number in counter.most_common())


def _table_row(row: Row, *, with_picture: bool) -> str:
    remarks = list(row.warnings) + [flag for face in row.faces for flag in face.flags]
    if row.error:
        remarks.append(f"{row.error.code}: {row.error.message}")
    cells = [
        _thumbnail(row) if with_picture and row.status != "error" else "",
        escape(row.path),
        f'<span class="{row.verdict or "error"}">{row.verdict or "error"}</span>',
        "" if row.p_fake is None else f"{row.p_fake:.3f}",
        "<br>".join(f"{face.p_fake:.3f}" for face in row.faces),
        "<br>".join(map(escape, dict.fromkeys(remarks))),
    ]
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


def _thumbnail(row: Row) -> str:
    """The picture with its faces boxed; nothing when the file is gone or has changed beyond reading."""
    path = Path(real_path(row.path))
    try:
        image = Image.fromarray(read_image(path.read_bytes()).pixels)
    except (OSError, ValueError, ImageError):
        return ""
    scale = min(THUMBNAIL_PX / max(image.size), 1.0)
    image = image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))))
    threshold = (row.model or {}).get("threshold", 0.5)
    draw = ImageDraw.Draw(image)
    for face in row.faces:
        if face.box:
            is_fake = isinstance(threshold, int | float) and face.p_fake >= threshold
            box = [value * scale for value in face.box]
            draw.rectangle(box, outline=COLOURS["fake" if is_fake else "real"], width=2)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=80)
    data = base64.b64encode(buffer.getvalue()).decode()
    return f'<img src="data:image/jpeg;base64,{data}" width="{image.width}" height="{image.height}" alt="">'
