"""What is looked at: the image itself, or of a video the frame that looks most like a fake."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from client.report.compact import suspicion
from client.report.stills import still
from client.rows import Face, Row
from lnclip.errors import ImageError
from lnclip.intake import read_image

SIDE_PX = 1280
"""Longest side of what is sent to the page."""

QUALITY = 85


class Shown(NamedTuple):
    """A picture and the faces on it."""

    jpeg: bytes
    width: int
    height: int
    """Of the upright frame, in whose pixels boxes are; the JPEG may be smaller."""

    faces: tuple[Face, ...]
    caption: str
    """Which frame of a video it is."""


def show(row: Row, file: Path) -> Shown | None:
    """The picture of a row; None when it cannot be decoded here."""
    try:
        if row.kind == "image":
            pixels, faces, caption = read_image(file.read_bytes()).pixels, row.faces, ""
        elif row.frames:
            frame = max(row.frames, key=suspicion)
            pixels, faces = still(file, frame), frame.faces
            caption = f"Frame at {frame.time_s:.2f} s" + (", the most suspicious of those looked at" if faces else "")
        else:
            return None
    except (ImageError, OSError):
        return None
    image = Image.fromarray(pixels)
    image.thumbnail((SIDE_PX, SIDE_PX), Image.Resampling.LANCZOS, reducing_gap=3)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=QUALITY)
    height, width = pixels.shape[:2]
    return Shown(buffer.getvalue(), width, height, faces, caption)


def figure(shown: Shown, threshold: float | None) -> str:
    """The picture with a labelled box over each face; percentages, so that it may have any size."""
    data = base64.b64encode(shown.jpeg).decode()
    boxes = "".join(_box(number, face, shown, threshold) for number, face in enumerate(shown.faces, 1) if face.box)
    described = describe_faces(shown.faces)
    caption = f"<figcaption>{escape(shown.caption)}</figcaption>" if shown.caption else ""
    return (
        f'<figure><div class="picture"><img src="data:image/jpeg;base64,{data}" alt="{escape(described)}" '
        f'width="{shown.width}" height="{shown.height}">{boxes}</div>{caption}</figure>'
    )


def describe_faces(faces: Sequence[Face]) -> str:
    """For those who do not see the picture."""
    if not faces:
        return "No face found"
    numbers = ", ".join(f"{face.p_fake:.3f}" for face in faces)
    return f"{len(faces)} face{'s' if len(faces) > 1 else ''} found, p_fake {numbers}"


def class_of(p_fake: float, threshold: float | None) -> str:
    """How a number is coloured."""
    if threshold is None:
        return "unknown"
    return "fake" if p_fake >= threshold else "real"


def _box(number: int, face: Face, shown: Shown, threshold: float | None) -> str:
    x1, y1, x2, y2 = face.box or (0.0, 0.0, 0.0, 0.0)
    left, right = (100 * min(max(x, 0), shown.width) / shown.width for x in (x1, x2))
    top, bottom = (100 * min(max(y, 0), shown.height) / shown.height for y in (y1, y2))
    below = " below" if top < 12 else ""  # or the label would leave the picture
    return (
        f'<div class="box {class_of(face.p_fake, threshold)}{below}" style="left:{left:.2f}%;top:{top:.2f}%;'
        f'width:{right - left:.2f}%;height:{bottom - top:.2f}%"><span>{number}: {face.p_fake:.3f}</span></div>'
    )
