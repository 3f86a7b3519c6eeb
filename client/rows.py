"""A result row (schema 1): everything that is known about one scored file, one row per file.

Not the place for how rows are stored: ``writers`` and ``readers`` do that.
"""

from __future__ import annotations

import os
import re
from typing import Annotated, Literal
from urllib.parse import unquote_to_bytes

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from lnclip.scoring import Verdict

Status = Literal["ok", "no_face", "error"]
Probability = Annotated[float, Field(ge=0, le=1)]
"""0..1; NaN is refused."""

Box = tuple[float, float, float, float]
"""x1, y1, x2, y2 in pixels of the upright image."""

Points = Annotated[tuple[tuple[float, float], ...], Field(min_length=5, max_length=5)]
"""Left eye, right eye, nose, left and right mouth corner as seen in the picture, pixels."""

FROZEN = ConfigDict(frozen=True, extra="forbid")


class Face(BaseModel):
    """One scored face."""

    model_config = FROZEN

    box: Box | None
    """None, as ``landmarks`` and ``score``, for a crop that was sent ready-made."""

    landmarks: Points | None
    score: float | None
    """The detector's."""

    p_fake: Probability
    flags: tuple[str, ...] = ()
    """Words: small, blurred, touches_border, low_score."""


class VideoFrame(BaseModel):
    """One scored frame of a video."""

    model_config = FROZEN

    index: int
    time_s: float
    p_fake: Probability | None
    faces: tuple[Face, ...] = ()


class Track(BaseModel):
    """One person followed through a video."""

    model_config = FROZEN

    id: int
    frames: tuple[int, ...]
    """Frame indices."""

    p_fake: Probability


class Segment(BaseModel):
    """The part of a video that looks most like a fake."""

    model_config = FROZEN

    start_s: float
    end_s: float
    p_fake: Probability


class RowError(BaseModel):
    """Why a file has no score."""

    model_config = FROZEN

    code: str
    """One lower-case word with underscores: of the file (``truncated``, ``not_found``, ...) or the
    gRPC status (``unavailable``, ``deadline_exceeded``, ...)."""

    message: str


class Row(BaseModel):
    """One file's result. Every row has every field; what does not apply is null (or an empty list)."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, serialize_by_alias=True)

    schema_version: Literal[1] = Field(1, alias="schema")
    """The column ``schema``: grows when a field changes its meaning."""

    path: str
    """As given or found; see ``printable_path``. Empty for bytes that came without a file."""

    size_bytes: int | None
    """None, as the next two, when the file could not be read."""

    mtime_ns: int | None
    sha256: str | None
    kind: Literal["image", "video"] = "image"
    status: Status
    verdict: Verdict | None
    """None for an error."""

    p_fake: Probability | None
    """Null without a face: no face is never a number."""

    num_faces: int | None
    """Null for an error."""

    faces: tuple[Face, ...] = ()
    """Largest first."""

    frames: tuple[VideoFrame, ...] | None = None
    """Of videos, as the next two."""

    tracks: tuple[Track, ...] | None = None
    segment: Segment | None = None
    width: int | None
    """Of the upright image, pixels."""

    height: int | None
    warnings: tuple[str, ...] = ()
    error: RowError | None
    model: dict[str, JsonValue] | None
    """Which model answered, as it says itself; null when none did."""

    elapsed_ms: float
    """From opening the file to its answer, waits and retries included."""

    columns: dict[str, JsonValue] = {}
    """Carried through from the input; empty for files and folders."""


def printable_path(path: str | os.PathLike[str]) -> str:
    """A path as valid text: bytes that are not UTF-8 become %XX, and % itself %25."""
    try:
        raw = os.fsencode(path)
    except UnicodeEncodeError:  # half a character, in a table: no name of any file
        return os.fspath(path).encode("ascii", "backslashreplace").decode()
    text = raw.replace(b"%", b"%25").decode("utf-8", "surrogateescape")
    return re.sub("[\udc80-\udcff]", lambda match: f"%{ord(match[0]) - 0xDC00:02X}", text)


def real_path(printed: str) -> str:
    """The path that ``printable_path`` was given."""
    return os.fsdecode(unquote_to_bytes(printed))
