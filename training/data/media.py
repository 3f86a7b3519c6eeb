"""Which files are images and videos: by their first bytes, and where those say nothing by their ending."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from lnclip.intake import sniff

IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm")
VIDEO_ENDINGS = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".ts", ".wmv", ".flv", ".3gp")

HEAD_BYTES = 16


def kind_of(path: Path) -> Literal["image", "video"]:
    """What a file is to be read as; whether it can be is found out by reading it."""
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError:
        head = b""
    is_image = _begins_like_an_image(head) or (
        not _begins_like_a_video(head) and path.suffix.lower() in (*IMAGE_ENDINGS, "")
    )
    return "image" if is_image else "video"


def is_media(path: Path) -> bool:
    """Whether a file in a folder counts: its ending or its first bytes are an image's or a video's."""
    if path.suffix.lower() in (*IMAGE_ENDINGS, *VIDEO_ENDINGS):
        return True
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError:
        return False
    return _begins_like_an_image(head) or _begins_like_a_video(head)


def _begins_like_an_image(head: bytes) -> bool:
    """Where two letters would do (BM, P5), more must fit."""
    kind = sniff(head)
    if kind == "BMP":
        return head[6:10] == bytes(4)
    if kind == "PPM":
        return head[2:3].isspace()
    return kind is not None


def _begins_like_a_video(head: bytes) -> bool:
    """MP4 and MOV, Matroska and WebM, AVI, FLV, ASF (WMV), MPEG program stream."""
    return (
        head[4:8] in {b"ftyp", b"moov", b"mdat", b"wide"}
        or head.startswith((b"\x1aE\xdf\xa3", b"FLV\x01", b"0&\xb2u\x8ef\xcf\x11", b"\x00\x00\x01\xba"))
        or (head[:4] == b"RIFF" and head[8:12] == b"AVI ")
    )
