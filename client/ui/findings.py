"""A row in words and pictures. Whatever comes from a file or a server is escaped: it is text, never markup."""

from __future__ import annotations

from html import escape

from client.calling import AWAY
from client.report.tally import as_text, threshold_of
from client.rows import Face, Row, RowError
from client.ui.pictures import Shown, class_of, figure
from client.ui.timeline import timeline

LIMITS = (
    "Scores speak of manipulated faces, such as swaps and reenactments. Wholly generated images are outside the "
    "domain: a low score does not make such a picture genuine."
)
MANY_FACES = "The image's number is that of its most suspicious face: the more faces, the likelier a false alarm."
NO_FACE = "No face was found, so nothing can be said: this is not a low score."
FACTS = ("name", "precision", "artifact_id", "detector", "threshold")
"""Of the model, what is told."""


def show_row(row: Row, name: str, shown: Shown | None) -> str:
    """Everything about one file.

    Args:
        row: its row.
        name: the file's, as its owner calls it.
        shown: its picture; None when there is none.
    """
    if row.error is not None:
        return show_trouble("Not scored", name, _reason(row.error))
    threshold = threshold_of(row)
    parts = [
        _verdict(row, name, threshold),
        figure(shown, threshold) if shown else "",
        timeline(row, threshold) if row.kind == "video" else "",
        _faces(row.faces if row.kind == "image" else shown.faces if shown else (), threshold),
        _remarks(row),
        _model(row),
        f'<p class="limits">{escape(LIMITS)}</p>',
    ]
    return f'<section class="finding">{"".join(parts)}</section>'


def show_trouble(what: str, about: str, reason: str) -> str:
    """Why there is no score."""
    return (
        f'<section class="finding"><div class="verdict error" role="alert"><strong>{escape(what)}</strong>'
        f"<span>{escape(about)}</span><p>{escape(reason)}</p></div></section>"
    )


def _reason(error: RowError) -> str:
    reason = f"{error.message} ({error.code})"
    return f"{reason}. The server is away: python -m server status says more." if error.code in AWAY else reason


def _verdict(row: Row, name: str, threshold: float | None) -> str:
    if row.p_fake is None:
        word, numbers = "No face", f"<p>{escape(NO_FACE)}</p>"
    else:
        word = "Called fake" if row.verdict == "fake" else "Called real"
        bound = f", threshold {threshold:.3f}" if threshold is not None else ""
        numbers = f'<p>p_fake <b class="number">{row.p_fake:.3f}</b>{bound}</p>'
    return (
        f'<div class="verdict {escape(row.verdict or "error")}" role="status"><strong>{word}</strong>'
        f"<span>{escape(name)}</span>{numbers}</div>"
    )


def _faces(faces: tuple[Face, ...], threshold: float | None) -> str:
    if not faces:
        return ""
    lines = "".join(
        f'<tr><td>{number}</td><td class="{class_of(face.p_fake, threshold)}">{face.p_fake:.3f}</td>'
        f"<td>{_size(face)}</td><td>{escape(' '.join(face.flags)) or '-'}</td></tr>"
        for number, face in enumerate(faces, 1)
    )
    return (
        "<table><thead><tr><th>Face</th><th>p_fake</th><th>Size, px</th><th>Remarks</th></tr></thead>"
        f"<tbody>{lines}</tbody></table>"
    )


def _size(face: Face) -> str:
    if face.box is None:
        return "-"
    x1, y1, x2, y2 = face.box
    return f"{x2 - x1:.0f} x {y2 - y1:.0f}"


def _remarks(row: Row) -> str:
    remarks = [word.replace("_", " ") for word in row.warnings]
    words = f"<p>Put right before scoring: {escape(', '.join(remarks))}.</p>" if remarks else ""
    return words + (f"<p>{escape(MANY_FACES)}</p>" if row.kind == "image" and len(row.faces) > 1 else "")


def _model(row: Row) -> str:
    model = row.model or {}
    facts = "".join(
        f"<dt>{escape(fact.replace('_', ' '))}</dt><dd>{escape(as_text(model[fact]))}</dd>"
        for fact in FACTS
        if fact in model
    )
    return f"<details><summary>Which model answered</summary><dl>{facts}</dl></details>" if facts else ""
