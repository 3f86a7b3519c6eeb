"""Local files and folders: every media file below the given paths, each once.

* A path that was given by name has its row, whatever it is. Below a given folder a file counts when
  its ending or its first bytes are an image's or a video's; all else is skipped, and counted as skipped.
* Links are followed. A folder that was walked is not walked again, so loops end; a file that is
  reached again (given twice, linked) is a duplicate, not a second row.

Memory grows with folders, links and paths given by name, not with the files below folders.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from typing import Literal

from client.sources.found import Found
from client.sources.patterns import Entry, is_folder, unlisted
from lnclip.media import has_media_ending, is_media, read_head


class Walk:
    """What was walked so far; one for all the paths of a run."""

    def __init__(self) -> None:
        self._folders: set[int] = set()
        """Keys of those listed, or being listed."""

        self._files: set[int] = set()
        """Keys of files given by name or found through a link; others are found just once."""

    def named(self, path: str) -> Iterator[Found]:
        """A file, or all below a folder."""
        if os.path.isdir(path):  # noqa: PTH112 - paths are str here: a Path for each of a million files is slow
            yield from self.folder(path)
            return
        try:
            key, home = _key(path), _home(path)
        except (OSError, ValueError):  # ValueError: a NUL in the path
            yield Found(path, "input")  # reading it tells why it cannot be read
            return
        was_walked = home in self._folders and _looks_like_media(path)
        yield Found(path, "duplicate" if was_walked else self._once(key))

    def folder(self, path: str) -> Iterator[Found]:
        """All media below a folder, in the order of the disk."""
        pending = [path]
        while pending:
            yield from self._list(pending.pop(), pending)

    def matched(self, entry: Entry) -> Iterator[Found]:
        """What a pattern matched: a file as if found in a folder, or all below a folder."""
        if entry.is_folder:
            yield from self.folder(entry.path)
        elif not _looks_like_media(entry.path):
            yield Found(entry.path, "skipped")
        elif entry.is_link:
            yield self._link(entry.path)
        else:
            yield Found(entry.path, "duplicate" if self._has(entry.path) else "input")

    def _has(self, path: str) -> bool:
        """Whether a file has its row already. Of files that are not linked none is remembered but those given."""
        try:
            in_walked = bool(self._folders) and _home(path) in self._folders
            return in_walked or (bool(self._files) and _key(path) in self._files)
        except OSError:
            return False

    def _list(self, folder: str, pending: list[str]) -> Iterator[Found]:
        try:
            status = os.stat(folder)  # noqa: PTH116
            key = _pack(status.st_dev, status.st_ino)
            if key in self._folders:
                return
            self._folders.add(key)
            with os.scandir(folder) as entries:
                for entry in entries:
                    if is_folder(entry):
                        pending.append(entry.path)
                    else:
                        yield self._entry(entry, status.st_dev)
        except OSError as error:
            yield unlisted(folder, error.strerror or str(error))

    def _entry(self, entry: os.DirEntry[str], device: int) -> Found:
        if entry.is_symlink():
            return self._link(entry.path) if _looks_like_media(entry.path) else Found(entry.path, "skipped")
        if _pack(device, entry.inode()) in self._files:
            return Found(entry.path, "duplicate")
        return Found(entry.path, "input" if _looks_like_media(entry.path) else "skipped")

    def _link(self, path: str) -> Found:
        """A file counts unless it is, or will be, found by itself."""
        try:
            key, home = _key(path), _home(os.path.realpath(path, strict=True))
        except OSError:
            return Found(path, "input")  # dangling or turning in circles: its row says so
        return Found(path, "duplicate" if home in self._folders else self._once(key))

    def _once(self, key: int) -> Literal["input", "duplicate"]:
        if key in self._files:
            return "duplicate"
        self._files.add(key)
        return "input"


def _pack(device: int, inode: int) -> int:
    """One file or folder on this machine, whatever its names: half the memory of a tuple."""
    return device << 64 | inode


def _key(path: str) -> int:
    status = os.stat(path)  # noqa: PTH116
    return _pack(status.st_dev, status.st_ino)


def _home(path: str) -> int:
    """Key of the folder that a file lies in."""
    return _key(os.path.dirname(path) or os.curdir)  # noqa: PTH120


def _looks_like_media(path: str) -> bool:
    """By ending, or else by first bytes; a file that cannot be opened counts, so that its row says so."""
    if has_media_ending(path):
        return True
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # noqa: PTH116
            return False
    except OSError:
        return True
    return is_media(read_head(path), path) or not os.access(path, os.R_OK)
