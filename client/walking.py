"""Which files are scored: every media file below the given paths, each once.

* A path that was given by name has its row, whatever it is. Below a given folder a file counts when
  its ending or its first bytes are an image's; all else is skipped, and counted as skipped.
* Links are followed. A folder that was walked is not walked again, so loops end; a file that is
  reached again (given twice, linked) is a duplicate, not a second row.

Memory grows with folders and links, not with files.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from lnclip.intake import sniff

IMAGE_ENDINGS = frozenset((".jpg", ".jpeg", ".jpe", ".png", ".webp", ".gif", ".bmp", ".ppm", ".pgm", ".tif", ".tiff"))


class Found(NamedTuple):
    """One thing that the walk came across."""

    path: str
    what: Literal["file", "skipped", "duplicate", "folder"]
    """``folder`` is one that cannot be listed: what lies below it is unknown, so it has an error row."""


def walk(paths: Iterable[str | os.PathLike[str]]) -> Iterator[Found]:
    """Everything below ``paths``: files that were named first, then folders, in the order of the disk."""
    return _Walk().run([os.fspath(path) for path in paths])


class FileKey(NamedTuple):
    """One file or folder on this machine, whatever its names."""

    device: int
    inode: int


class _Walk:
    def __init__(self) -> None:
        self.folders: set[FileKey] = set()
        """Listed, or being listed."""

        self.files: set[FileKey] = set()
        """Files named on the command line or found through a link; others are found just once."""

    def run(self, paths: list[str]) -> Iterator[Found]:
        pending = []
        for path in paths:
            if Path(path).is_dir():
                pending.append(path)
            else:
                yield self._named(path)
        pending.reverse()
        while pending:
            yield from self._folder(pending.pop(), pending)

    def _named(self, path: str) -> Found:
        try:
            key = _key(path)
        except OSError:
            return Found(path, "file")  # reading it tells why it cannot be read
        return Found(path, self._once(key))

    def _once(self, key: FileKey) -> Literal["file", "duplicate"]:
        if key in self.files:
            return "duplicate"
        self.files.add(key)
        return "file"

    def _folder(self, folder: str, pending: list[str]) -> Iterator[Found]:
        try:
            key = _key(folder)
            if key in self.folders:
                return
            self.folders.add(key)
            with os.scandir(folder) as entries:
                for entry in entries:
                    found = self._entry(entry, key, pending)
                    if found is not None:
                        yield found
        except OSError:
            yield Found(folder, "folder")

    def _entry(self, entry: os.DirEntry[str], folder: FileKey, pending: list[str]) -> Found | None:
        if _is_directory(entry):
            pending.append(entry.path)
            return None
        if entry.is_symlink():
            return self._link(entry.path)
        if FileKey(folder.device, entry.inode()) in self.files:
            return Found(entry.path, "duplicate")
        return Found(entry.path, "file" if _looks_like_media(entry.path) else "skipped")

    def _link(self, path: str) -> Found:
        """A link to a file counts unless that file is, or will be, found by itself."""
        if not _looks_like_media(path):
            return Found(path, "skipped")
        try:
            key, home = _key(path), _key(Path(path).resolve(strict=True).parent)
        except (OSError, RuntimeError):
            return Found(path, "file")  # dangling or turning in circles: its row says so
        return Found(path, "duplicate" if home in self.folders else self._once(key))


def _key(path: str | Path) -> FileKey:
    status = os.stat(path)  # noqa: PTH116 - paths are str here: a Path for each of a million files is slow
    return FileKey(status.st_dev, status.st_ino)


def _is_directory(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that turns in circles
        return False


def _looks_like_media(path: str) -> bool:
    """By ending, or else by first bytes; a file that cannot be opened counts, so that its row says so."""
    if os.path.splitext(path)[1].lower() in IMAGE_ENDINGS:  # noqa: PTH122 - as above
        return True
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # noqa: PTH116
            return False
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123
            return begins_like_an_image(file.read(16))
    except OSError:
        return True


def begins_like_an_image(data: bytes) -> bool:
    """Whether the first 16 bytes are an image's; where two letters would do (BM, P5), more must fit."""
    kind = sniff(data)
    if kind == "BMP":
        return data[6:10] == bytes(4)
    if kind == "PPM":
        return data[2:3].isspace()
    return kind is not None
