"""Which files are images and videos: by their first bytes, and where those say nothing by their ending.

Whether a file can be read to its end is found out by reading it; nothing here decodes.
"""

from __future__ import annotations

import os
from typing import Literal

from lnclip.intake import sniff

MediaKind = Literal["image", "video"]

IMAGE_ENDINGS = (".jpg", ".jpeg", ".jpe", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm")
VIDEO_ENDINGS = (
    *(".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts", ".wmv", ".flv"),
    *(".3gp", ".ogv"),
)

AMBIGUOUS_ENDINGS = (".ts",)
"""Not enough to take a file in a folder for media: there is more TypeScript than there are transport streams."""

HEAD_BYTES = 1024
"""What ``kind_of`` and ``is_media`` want to see of a file."""

_STILLS = frozenset((b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1", b"avif", b"avis"))
"""Brands of ISO media files that are pictures: HEIF and AVIF."""

_SOUNDS = frozenset((b"M4A ", b"M4B ", b"M4P ", b"F4A "))
_FIRST_BOXES = frozenset((b"ftyp", b"moov", b"moof", b"mdat", b"wide", b"free", b"skip", b"pnot", b"styp", b"sidx"))
_VIDEO_SIGNATURES = (
    b"\x1aE\xdf\xa3",  # Matroska, WebM
    b"FLV\x01",
    b"0&\xb2u\x8ef\xcf\x11",  # ASF: WMV
    b"\x00\x00\x01\xba",  # MPEG program stream
    b"\x00\x00\x01\xb3",  # MPEG-1 or 2 video by itself
    b"YUV4MPEG2 ",
)
_PACKET_BYTES = ((0, 188), (4, 192))
"""Where MPEG transport packets begin, and how far apart; M2TS puts a time of 4 bytes before each."""


def kind_of(head: bytes, name: str) -> MediaKind:
    """What a file is to be read as.

    Args:
        head: its first ``HEAD_BYTES``; fewer of a shorter file.
        name: its name or path. What neither tells is an image: reading it says what is wrong.
    """
    if begins_like_an_image(head):
        return "image"
    return "video" if begins_like_a_video(head) or _ending(name) in VIDEO_ENDINGS else "image"


def is_media(head: bytes, name: str) -> bool:
    """Whether a file that was found in a folder counts: it begins or ends like an image or a video."""
    return has_media_ending(name) or begins_like_an_image(head) or begins_like_a_video(head)


def has_media_ending(name: str) -> bool:
    """Whether the ending alone makes a file in a folder count."""
    ending = _ending(name)
    return ending in IMAGE_ENDINGS or (ending in VIDEO_ENDINGS and ending not in AMBIGUOUS_ENDINGS)


def read_head(path: str | os.PathLike[str]) -> bytes:
    """First bytes of a file; none where it cannot be read.

    A pipe that nobody writes to is not waited for, and nothing is taken from one that somebody does.
    """
    try:
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            return os.pread(file, HEAD_BYTES, 0)
        finally:
            os.close(file)
    except (OSError, ValueError):  # ValueError: a NUL in the path
        return b""


def begins_like_an_image(head: bytes) -> bool:
    """Where two letters would do (BM, P5), more must fit."""
    kind = sniff(head)
    if kind == "BMP":
        return head[6:10] == bytes(4)
    if kind == "PPM":
        return head[2:3].isspace()
    return kind is not None or (head[4:8] == b"ftyp" and head[8:12] in _STILLS)


def begins_like_a_video(head: bytes) -> bool:
    """MP4 and MOV, Matroska and WebM, AVI, FLV, ASF (WMV), Ogg Theora, MPEG streams."""
    if head[4:8] in _FIRST_BOXES:
        return head[4:8] != b"ftyp" or head[8:12] not in _STILLS | _SOUNDS
    if head[:4] == b"RIFF":
        return head[8:12] == b"AVI "
    if head[:4] == b"OggS":
        return head[29:35] == b"theora"
    return head.startswith(_VIDEO_SIGNATURES) or _is_transport_stream(head)


def _is_transport_stream(head: bytes) -> bool:
    """A 0x47 at the beginning of each of at least three packets. Source: ISO/IEC 13818-1, 2.4.3.2."""
    return any(
        len(head) > first + 2 * size and all(byte == 0x47 for byte in head[first::size])
        for first, size in _PACKET_BYTES
    )


def _ending(name: str) -> str:
    return os.path.splitext(name)[1].lower()  # noqa: PTH122 - called several times for each of a million files
