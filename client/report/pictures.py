"""Thumbnails of what was scored, as it is now where the rows say: nothing for a file that is gone or has changed.

Face boxes are not drawn here: the page lays them over, so that they have its colours and its tooltips.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import JsonValue

from client.reading import read_input, stamp
from client.report.compact import compact_face, short, suspicion
from client.report.stills import still
from client.rows import Face, Row, real_path
from client.sources.found import Found
from client.sources.stores import as_local, is_url
from lnclip.errors import ImageError
from lnclip.intake import read_image

SIDE_PX = 320
"""Longest side; about 10 KB of WebP."""

QUALITY = 65
NUM_THREADS = 4
"""Each may hold one decoded image of 50 megapixels."""

Missing = Literal["gone", "changed", "unreadable", "remote"]


@dataclass(frozen=True, kw_only=True)
class Picture:
    """What the page shows of a file."""

    webp: bytes
    width: int
    height: int
    faces: tuple[Face, ...]
    """Boxes in pixels of the upright image, as the row has them."""

    time_s: float | None
    """Of the frame of a video."""

    def to_page(self) -> JsonValue:
        """As the page's JSON has it."""
        data = "data:image/webp;base64," + base64.b64encode(self.webp).decode()
        return [data, self.width, self.height, [compact_face(face) for face in self.faces], short(self.time_s, 3)]


def make_pictures(rows: Iterable[Row]) -> list[Picture | Missing]:
    """One for each row, in their order; made by threads, for decoding leaves Python's lock free."""
    with ThreadPoolExecutor(NUM_THREADS) as threads:
        return list(threads.map(make_picture, rows))


def make_picture(row: Row) -> Picture | Missing:
    """The thumbnail of one row; of a video its most suspicious frame."""
    place = as_local(real_path(row.path))
    try:
        return _of_video(row, place) if row.kind == "video" else _of_image(row, place)
    except ImageError:
        return "unreadable"


def _of_image(row: Row, place: str) -> Picture | Missing:
    read = read_input(Found(place, "input"))
    if read.video:
        read.video.discard()
    if read.facts.sha256 is None:
        return "gone" if read.error and read.error.code == "not_found" else "unreadable"
    if read.facts.sha256 != row.sha256:
        return "changed"
    return _shrunk(read_image(read.content).pixels, row.faces, None)


def _of_video(row: Row, place: str) -> Picture | Missing:
    """Hashed only where its time is another, as a copy's is; one in a store would have to be fetched whole."""
    if is_url(place):
        return "remote"
    now = stamp(place)
    if now is None:
        return "gone"
    is_touched = now.mtime_ns != row.mtime_ns
    if now.size_bytes != row.size_bytes or (
        is_touched and read_input(Found(place, "input")).facts.sha256 != row.sha256
    ):
        return "changed"
    if not row.frames:
        return "unreadable"
    frame = max(row.frames, key=suspicion)
    return _shrunk(still(Path(place), frame), frame.faces, frame.time_s)


def _shrunk(pixels: NDArray[np.uint8], faces: tuple[Face, ...], time_s: float | None) -> Picture:
    image = Image.fromarray(pixels)
    image.thumbnail((SIDE_PX, SIDE_PX), Image.Resampling.LANCZOS, reducing_gap=3)
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=QUALITY)
    height, width = pixels.shape[:2]
    return Picture(webp=buffer.getvalue(), width=width, height=height, faces=faces, time_s=time_s)
