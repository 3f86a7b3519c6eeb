"""Patterns (``shots/**/*.jpg``) matched folder by folder, of the disk or of a store.

As a shell does it: ``*`` and ``?`` within a name, ``[...]``, ``**`` for folders at any depth; none of
them stands for the dot that begins a hidden name, and ``**`` does not follow links. ``glob`` would hold
the names of a whole folder and, of a store, of everything below it.
"""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from client.rows import RowError
from client.sources.found import Found

ANY_DEPTH = "**"


class Entry(NamedTuple):
    """One name in a folder."""

    path: str
    name: str
    is_folder: bool
    is_link: bool = False


Lister = Callable[[str], Iterable[Entry | Found]]
"""What lies in a folder; a ``Found`` with an error where that cannot be told."""


def is_pattern(path: str) -> bool:
    """Whether it has a character that stands for others."""
    return any(sign in path for sign in "*?[")


def split_pattern(pattern: str) -> tuple[str, list[str]]:
    """The folder before the first part that is a pattern, and the parts from there on."""
    sign = re.search(r"[*?\[]", pattern)
    begin = pattern.rfind("/", 0, sign.start() if sign else None) + 1
    return pattern[:begin], [part for part in pattern[begin:].split("/") if part]


def expand(root: str, parts: Sequence[str], list_folder: Lister) -> Iterator[Entry | Found]:
    """What matches, each once, and folders that could not be looked into.

    A folder that matches is not looked into: whoever gets it takes all below it.
    """
    if parts[-1] == ANY_DEPTH:
        parts = [*parts, "*"]
    matchers = [re.compile(fnmatch.translate(part)) for part in parts]
    pending = [(root, _with_skipped({0}, parts))]
    while pending:
        folder, places = pending.pop()
        for entry in list_folder(folder):
            if isinstance(entry, Found):
                yield entry
                continue
            following = {place for place in places if parts[place] == ANY_DEPTH and _goes_deeper(entry)}
            matching = {place for place in places if _matches(entry.name, parts[place], matchers[place])}
            if len(parts) - 1 in matching:
                yield entry
            elif entry.is_folder and (following or matching):
                pending.append((entry.path, _with_skipped(following | {place + 1 for place in matching}, parts)))


def list_local(folder: str) -> Iterator[Entry | Found]:
    """The names in a folder of the disk, in its order."""
    try:
        with os.scandir(folder or os.curdir) as entries:
            for entry in entries:
                yield Entry(os.path.join(folder, entry.name), entry.name, is_folder(entry), entry.is_symlink())  # noqa: PTH118
    except OSError as error:
        yield unlisted(folder, error.strerror or str(error))


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Also of a link to one."""
    try:
        return entry.is_dir()
    except OSError:  # a link that turns in circles
        return False


def unlisted(folder: str, reason: str) -> Found:
    """The row of a folder that cannot be listed."""
    message = f"cannot be listed ({reason}): what lies below it was not scored"
    return Found(folder, "input", error=RowError(code="folder_unreadable", message=message))


def _with_skipped(places: set[int], parts: Sequence[str]) -> frozenset[int]:
    """Those places in a pattern, and where ``**`` stands for no folder at all the next."""
    every = set(places)
    for place in range(len(parts)):
        if place in every and parts[place] == ANY_DEPTH:
            every.add(place + 1)
    return frozenset(every)


def _matches(name: str, part: str, matcher: re.Pattern[str]) -> bool:
    if part == ANY_DEPTH or (name.startswith(".") and not part.startswith(".")):
        return False
    return matcher.match(name) is not None


def _goes_deeper(entry: Entry) -> bool:
    return entry.is_folder and not entry.is_link and not entry.name.startswith(".")
