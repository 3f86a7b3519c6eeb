"""Every input below the given paths, one after the other: memory does not grow with how many there are.

A path is

* a file, whatever it is;
* a folder: all images and videos below it;
* a pattern (``*``, ``?``, ``[...]``, ``**``) when no such file exists;
* ``-``: a list on stdin; a file ending in .txt: a list (see ``lists``);
* a file ending in .csv, .parquet or .jsonl: a table (see ``tables``);
* an address with ``://``: an object, a folder or a pattern in a store that fsspec reads, or a list or
  table that lies there.

A line of a list is a file, a folder or an address; whether an address is a folder only its final slash
tells there, for the store is not asked once per line. A row of a table is one file.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import PurePath

from client.rows import RowError
from client.sources import stores
from client.sources.found import Found
from client.sources.lists import read_list
from client.sources.opening import open_source
from client.sources.patterns import expand, is_pattern, list_local, split_pattern
from client.sources.tables import TABLE_ENDINGS, check_table, read_table
from client.sources.walking import Walk
from lnclip.errors import ConfigError

__all__ = ["Found", "check_sources", "find"]

STDIN = "-"
LIST_ENDING = ".txt"


def find(paths: Iterable[str | os.PathLike[str]], *, path_column: str = "path") -> Iterator[Found]:
    """Everything that the paths name, in their order; lazily.

    Args:
        paths: see above.
        path_column: of tables.

    Raises:
        ConfigError: a list or table cannot be read, or has no such column.
    """
    finder = _Finder(path_column)
    for path in paths:
        yield from finder.find(stores.as_local(os.fspath(path)))


def check_sources(paths: Sequence[str | os.PathLike[str]], *, path_column: str = "path") -> None:
    """See before any work whether the lists and tables among the paths can be read, and addresses at all.

    Raises:
        ConfigError: one cannot; the message names it and the remedy. Or nothing that was named is there.
    """
    missing = [path for path in paths if _is_missing(os.fspath(path))]
    if missing and len(missing) == len(paths):
        raise ConfigError(f"{missing[0]}: there is no such file or folder")
    for path in (stores.as_local(os.fspath(path)) for path in paths):
        if stores.is_url(path):
            try:
                stores.StoreObject(path)
            except stores.store_errors() as error:
                raise ConfigError(f"{path}: {stores.explain(error, path).message}") from error
        if _is_list(path):
            with open_source(path):
                pass
        elif _is_table(path):
            check_table(path, path_column)


class _Finder:
    def __init__(self, path_column: str) -> None:
        self._path_column = path_column
        self._walk = Walk()

    def find(self, path: str) -> Iterator[Found]:
        if path == STDIN:
            yield from self._listed(read_list("the list on stdin", _read_stdin))
        elif _is_list(path):
            with open_source(path) as file:
                yield from self._listed(read_list(path, file.read))
        elif _is_table(path):
            yield from read_table(path, self._path_column)
        elif stores.is_url(path):
            yield from self._url(path)
        elif _is_local_pattern(path):
            yield from self._pattern(path)
        else:
            yield from self._walk.named(path)

    def _listed(self, paths: Iterable[str]) -> Iterator[Found]:
        for path in map(stores.as_local, paths):
            if stores.is_url(path):
                yield from stores.walk_store(path) if path.endswith("/") else [Found(path, "input")]
            elif os.path.isdir(path):  # noqa: PTH112 - a Path for each of a million lines is slow
                yield from self._walk.folder(path)
            else:
                yield Found(path, "input")

    def _url(self, url: str) -> Iterator[Found]:
        try:
            place = stores.StoreObject(url)
            matches = _is_store_pattern(url) and not place.exists()
            is_folder = not matches and place.is_folder()
        except stores.store_errors() as error:
            yield Found(url, "input", error=stores.explain(error, url))
            return
        if matches:
            yield from self._pattern(url)
        elif is_folder:
            yield from stores.walk_store(url)
        else:
            yield Found(url, "input")

    def _pattern(self, pattern: str) -> Iterator[Found]:
        place, chain, container = pattern.partition("::") if stores.is_url(pattern) else (pattern, "", "")
        root, parts = split_pattern(place)
        ending = _ending(pattern)
        nothing = True
        for entry in expand(
            root + chain + container, parts, stores.list_store if stores.is_url(pattern) else list_local
        ):
            nothing = False
            if isinstance(entry, Found):
                yield entry
            elif _ending(entry.path) == ending in (LIST_ENDING, *TABLE_ENDINGS) and not entry.is_folder:
                yield from self.find(entry.path)  # lists/*.csv, quoted or not, is those tables
            elif stores.is_url(entry.path):
                yield from stores.walk_store(entry.path) if entry.is_folder else [stores.found_in_store(entry.path)]
            else:
                yield from self._walk.matched(entry)
        if nothing:
            yield Found(pattern, "input", error=RowError(code="not_found", message="nothing matches this pattern"))


def _read_stdin(size: int) -> bytes:
    """What is there, rather than waiting for so many bytes.

    Past Python's buffer: a thread that waits in it holds its lock, and a process that ends meanwhile aborts.
    """
    return os.read(sys.stdin.fileno(), size)


def _is_missing(path: str) -> bool:
    """Of what must be a file or folder; lists and tables have their own messages."""
    others = path == STDIN or stores.is_url(path) or is_pattern(path) or _is_list(path) or _is_table(path)
    return not others and not os.path.lexists(path)


def _is_list(path: str) -> bool:
    return _ending(path) == LIST_ENDING and not _is_folder_or_pattern(path)


def _is_table(path: str) -> bool:
    return _ending(path) in TABLE_ENDINGS and not _is_folder_or_pattern(path)


def _is_folder_or_pattern(path: str) -> bool:
    if stores.is_url(path):
        return path.endswith("/") or _is_store_pattern(path)
    return os.path.isdir(path) or _is_local_pattern(path)  # noqa: PTH112


def _is_local_pattern(path: str) -> bool:
    return is_pattern(path) and not stores.is_url(path) and not os.path.lexists(path)


def _is_store_pattern(url: str) -> bool:
    return not stores.is_web(url) and is_pattern(stores.name_of(url))


def _ending(path: str) -> str:
    return PurePath(stores.name_of(path)).suffix.lower()
