"""Lists: text with one path, folder or URL per line, or with a NUL after each (``find -print0``).

Blank lines are passed over, line ends may be those of Windows, a byte order mark is no part of the
first path. Otherwise a line is taken to the letter: spaces and bytes that are not UTF-8 may be part of
a name, and nothing in it is a pattern.
"""

from __future__ import annotations

import codecs
import os
from collections.abc import Callable, Iterator

from lnclip.errors import ConfigError

BLOCK_BYTES = 1 << 16

LONGEST_BYTES = 1 << 16
"""Of a line; paths end at 4096, and a binary file has lines without end."""

_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def read_list(name: str, read: Callable[[int], bytes]) -> Iterator[str]:
    """The paths in a list, without holding it.

    Args:
        name: for messages.
        read: gives at most so many bytes, none at the end.

    Raises:
        ConfigError: it cannot be read, is not UTF-8 by its own mark, or is no text.
    """
    rest = _first_block(name, read)
    if rest.startswith(_UTF16):
        raise ConfigError(f"{name} is UTF-16 text; save it as UTF-8")
    rest = rest.removeprefix(codecs.BOM_UTF8)
    separator = b"\0" if b"\0" in rest else b"\n"
    while True:
        *lines, rest = rest.split(separator)
        for line in lines:
            yield from _path(line, separator)
        if len(rest) > LONGEST_BYTES:
            raise ConfigError(f"{name} is not a list: a line has more than {LONGEST_BYTES:,} bytes")
        block = _read(name, read)
        if not block:
            yield from _path(rest, separator)
            return
        rest += block


def _first_block(name: str, read: Callable[[int], bytes]) -> bytes:
    """Up to the first end of a line at least: a pipe may give less at once."""
    first = b""
    while len(first) < BLOCK_BYTES and not {*b"\0\n"} & {*first}:
        block = _read(name, read)
        if not block:
            break
        first += block
    return first


def _read(name: str, read: Callable[[int], bytes]) -> bytes:
    try:
        return read(BLOCK_BYTES)
    except OSError as error:
        raise ConfigError(f"{name} cannot be read: {error.strerror or error}") from error


def _path(line: bytes, separator: bytes) -> Iterator[str]:
    if separator == b"\n":
        line = line.removesuffix(b"\r")
        if not line.strip():
            return
    if line:
        yield os.fsdecode(line)
