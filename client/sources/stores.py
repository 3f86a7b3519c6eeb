"""Object stores and web servers through fsspec: what lies there, and its bytes.

An address is told apart from a path by its ``://``. Credentials are whatever the store's own package
finds (environment, configuration files); none are taken from here.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import BinaryIO, NamedTuple, cast

import fsspec
from fsspec.implementations.local import LocalFileSystem
from fsspec.spec import AbstractFileSystem

from client.rows import RowError
from client.sources.found import Found
from client.sources.patterns import Entry, unlisted
from lnclip.media import HEAD_BYTES, has_media_ending, is_media

BLOCK_BYTES = 1 << 22
"""Read ahead of an object at once."""

_LOCAL = ("file://", "local://")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TIMES = ("mtime", "LastModified", "last_modified", "Last-Modified", "updated", "created")
"""What the file systems call the time of the last change, the surer first."""

_PACKAGES = {
    "aiohttp": ("ClientError",),
    "azure.core.exceptions": ("AzureError",),
    "botocore.exceptions": ("BotoCoreError", "ClientError"),
    "ftplib": ("Error",),
    "gcsfs.retry": ("HttpError",),
    "google.auth.exceptions": ("GoogleAuthError",),
    "paramiko.ssh_exception": ("SSHException",),
    "tarfile": ("TarError",),
    "zipfile": ("BadZipFile",),
    "zlib": ("error",),
}
"""Errors of stores' packages that are no OSError; a package that is not loaded cannot raise them."""


class Stamp(NamedTuple):
    """What tells an input from what it was before; None where a web server does not say."""

    size_bytes: int | None
    mtime_ns: int | None


def is_url(path: str) -> bool:
    """Whether it is an address rather than a path on this machine."""
    return "://" in path


def as_local(path: str) -> str:
    """The path in an address ``file://...``; anything else as it is."""
    return str(LocalFileSystem._strip_protocol(path)) if path.startswith(_LOCAL) else path


def is_web(url: str) -> bool:
    """Whether it lies on a web server, where a question mark begins a query and only a final slash makes a folder."""
    return url.startswith(("http://", "https://"))


def name_of(url: str) -> str:
    """What ends as the object does: an address without its query, or without what it lies in (``zip://a.png::b.zip``)."""
    if is_web(url):
        return re.split("[?#]", url, maxsplit=1)[0]
    return url.partition("::")[0] if is_url(url) else url


class StoreObject:
    """One address: an object or a folder. Listings are not kept: they would grow with what is there."""

    def __init__(self, url: str) -> None:
        """Find the package that reads it; nothing is asked of the store.

        Raises:
            ImportError: the package is not installed; one of ``store_errors``.
            ValueError: there is none; also one of them.
        """
        self.url = url
        self.fs: AbstractFileSystem
        self.fs, self.path = fsspec.url_to_fs(url, use_listings_cache=False)

    def stamp(self) -> Stamp:
        """Size and time; one request."""
        info = self.fs.info(self.path)
        size = info.get("size")
        return Stamp(size if isinstance(size, int) else None, _time_ns(info))

    def is_folder(self) -> bool:
        """Whether objects lie below it; one or two requests."""
        return self.url.endswith("/") or (not is_web(self.url) and bool(self.fs.isdir(self.path)))

    def exists(self) -> bool:
        """Whether it is an object or a folder; a request or two."""
        return bool(self.fs.exists(self.path))

    @contextmanager
    def open(self, size_bytes: int | None = None, *, anywhere: bool = False) -> Iterator[BinaryIO]:
        """To be read from its beginning to its end (a web server need not know ranges), or here and there."""
        if is_web(self.url) and not anywhere:
            file = self.fs.open(self.path, "rb", block_size=0, size=size_bytes)
        else:
            file = self.fs.open(self.path, "rb", block_size=BLOCK_BYTES)
        with file:  # a file of an archive lives no longer than self.fs does, which this frame holds
            yield cast("BinaryIO", file)


def list_store(url: str) -> Iterator[Entry | Found]:
    """What lies in a folder of a store; the names of one folder are in memory at once."""
    head, chain, rest = url.partition("::")
    try:
        folder = StoreObject(url)
        for info in folder.fs.ls(folder.path, detail=True):
            path = str(info["name"]).rstrip("/")
            name = path.rsplit("/", 1)[-1]
            if path == folder.path.rstrip("/") or not name:
                continue  # a folder's own mark
            is_folder = info["type"] == "directory"
            place = path if is_url(path) else f"{head if head.endswith('/') else head + '/'}{name}"
            yield Entry(place + "/" * is_folder + chain + rest, name, is_folder)
    except store_errors() as error:
        yield unlisted(url, explain(error, url).message)


def walk_store(url: str) -> Iterator[Found]:
    """All media below a folder of a store, folder by folder."""
    pending, seen = [url], {url}
    while pending:
        for entry in list_store(pending.pop()):
            if isinstance(entry, Found):
                yield entry
            elif not entry.is_folder:
                yield found_in_store(entry.path)
            elif entry.path not in seen:  # a web page may lead back to itself
                seen.add(entry.path)
                pending.append(entry.path)


def found_in_store(url: str) -> Found:
    """An object that was come across: what its name does not tell, its first bytes do."""
    name = name_of(url)
    if has_media_ending(name):
        return Found(url, "input")
    try:
        with StoreObject(url).open() as file:
            return Found(url, "input" if is_media(file.read(HEAD_BYTES), name) else "skipped")
    except store_errors():
        return Found(url, "input")  # reading it tells why it cannot be read


def store_errors() -> tuple[type[Exception], ...]:
    """What a store may raise when it is asked for something; a tuple for ``except``."""
    found = (
        getattr(sys.modules[module], name, None)
        for module in _PACKAGES
        if module in sys.modules
        for name in _PACKAGES[module]
    )
    return (
        OSError,
        EOFError,
        ImportError,
        NotImplementedError,
        ValueError,
        *(error for error in found if error is not None),
    )


def explain(error: BaseException, url: str) -> RowError:
    """What went wrong, for a row."""
    if isinstance(error, FileNotFoundError) and isinstance(error.__cause__, store_errors()):
        return explain(error.__cause__, url)  # fsspec calls any trouble with a web server so
    scheme = url.partition("://")[0]
    text = " ".join(str(error).split()) or type(error).__name__
    status = getattr(error, "status", None)
    if isinstance(error, ImportError):
        code, text = "not_installed", f"no package here reads {scheme}:// addresses: {text}"
    elif isinstance(error, FileNotFoundError) or status in {404, 410}:
        code, text = "not_found", "there is no such object (any more)"
    elif "credential" in f"{type(error).__name__} {text}".lower():
        code, text = "no_credentials", f"{text}; set up credentials for {scheme}:// as its package wants them"
    elif isinstance(error, PermissionError) or status in {401, 403}:
        code, text = "no_permission", f"the store does not let it be read ({text})"
    elif isinstance(error, ValueError):
        code = "bad_address"
    else:
        code = "read_failed"
    return RowError(code=code, message=text)


def _time_ns(info: dict[str, object]) -> int | None:
    for name in _TIMES:
        value = info.get(name)
        if isinstance(value, float | int):
            return int(value * 1e9)
        if isinstance(value, str):
            value = _parse_time(value)
        if isinstance(value, datetime):
            return (value.replace(tzinfo=value.tzinfo or UTC) - _EPOCH) // timedelta(microseconds=1) * 1000
    return None


def _parse_time(text: str) -> datetime | None:
    """ISO 8601, or as HTTP writes it."""
    for parse in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            return parse(text)
        except ValueError:
            continue
    return None
