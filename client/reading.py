"""One input's bytes, size, time and hash: what a row says about it before any server is asked.

An image is read whole, for it is sent so. A video stays where it is and is hashed by chunks; one that
lies in a store is copied to a temporary file on the way.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import stat
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO, NamedTuple

from pydantic import JsonValue

from client.rows import RowError, printable_path
from client.sources import stores
from client.sources.found import Found
from client.sources.stores import Stamp
from lnclip.intake import MAX_PIXELS
from lnclip.media import HEAD_BYTES, MediaKind, kind_of

MAX_FILE_BYTES = 3 * MAX_PIXELS + 4096
"""More than any image that the server reads; larger ones are not sent."""

CHUNK_BYTES = 1 << 22

EMPTY = RowError(code="empty", message="the file has no bytes")

_CODES = {
    errno.ENOENT: ("not_found", "there is no such file (any more)"),
    errno.ENOTDIR: ("not_found", "there is no such file (any more)"),
    errno.ELOOP: ("symlink_loop", "symbolic links that lead back to themselves"),
    errno.EACCES: ("no_permission", "this user may not read it"),
    errno.EPERM: ("no_permission", "this user may not read it"),
    errno.EISDIR: ("not_a_file", "a folder"),
}


class FileFacts(NamedTuple):
    """What a row says about the file itself."""

    path: str
    """Printable."""

    size_bytes: int | None = None
    mtime_ns: int | None = None
    sha256: str | None = None
    kind: MediaKind = "image"
    """By its content; of what could not be read by its ending."""

    columns: Mapping[str, JsonValue] = {}
    """Carried along from a table."""


class VideoFile(NamedTuple):
    """A video to be decoded."""

    path: Path
    is_copy: bool
    """Whether it is a temporary file of ours."""

    def discard(self) -> None:
        """Remove it if it is a copy."""
        if self.is_copy:
            self.path.unlink(missing_ok=True)


class ReadFile(NamedTuple):
    """An input that was read, or the reason why not."""

    facts: FileFacts
    content: bytes
    """Of an image; nothing of a video."""

    error: RowError | None = None
    video: VideoFile | None = None
    """To be discarded by whoever decodes it."""


def read_input(found: Found) -> ReadFile:
    """Read and hash what was found; blocking. Trouble is in the answer, never raised."""
    name = stores.name_of(found.path)
    facts = FileFacts(printable_path(found.path), kind=kind_of(b"", name), columns=dict(found.columns))
    if found.error is not None:
        return ReadFile(facts, b"", found.error)
    path = stores.as_local(found.path)
    if stores.is_url(path):
        try:
            return _read_object(stores.StoreObject(path), facts)
        except stores.store_errors() as error:
            return ReadFile(facts, b"", stores.explain(error, path))
    try:
        return _read_file(path, facts)
    except (OSError, ValueError) as error:
        return ReadFile(facts, b"", _explain(error))


def from_bytes(content: bytes) -> ReadFile:
    """As if it were a file without a name."""
    facts = FileFacts("", kind=kind_of(content[:HEAD_BYTES], ""))
    if facts.kind == "image":
        return _image(facts, content)
    try:
        return _copied(io.BytesIO(content), b"", facts)
    except OSError as error:  # a full disk
        return ReadFile(facts, b"", _explain(error))


def stamp(path: str) -> Stamp | None:
    """What a row has as size and time, without reading; None when it is not there or cannot be asked for."""
    path = stores.as_local(path)
    try:
        if stores.is_url(path):
            return stores.StoreObject(path).stamp()
        status = os.stat(path)  # noqa: PTH116 - called for each of a million files
    except stores.store_errors():  # ValueError, a NUL in the path, is one of them
        return None
    return Stamp(status.st_size, status.st_mtime_ns)


def _read_file(path: str, facts: FileFacts) -> ReadFile:
    # O_NONBLOCK: opening a pipe that nobody writes to must not wait
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb", buffering=0) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            return ReadFile(facts, b"", RowError(code="not_a_file", message="a pipe, socket, device or folder"))
        head = os.pread(file.fileno(), HEAD_BYTES, 0)
        facts = facts._replace(size_bytes=status.st_size, mtime_ns=status.st_mtime_ns, kind=kind_of(head, path))
        if facts.kind == "image" and status.st_size <= MAX_FILE_BYTES:
            return _image(facts, file.readall())
        facts = facts._replace(sha256=hashlib.file_digest(file, "sha256").hexdigest())
    if facts.kind == "image":
        return ReadFile(facts, b"", _too_large(status.st_size))
    if status.st_size == 0:
        return ReadFile(facts, b"", EMPTY)
    return ReadFile(facts, b"", video=VideoFile(Path(path), is_copy=False))


def _read_object(place: stores.StoreObject, facts: FileFacts) -> ReadFile:
    size, mtime_ns = place.stamp()
    facts = facts._replace(size_bytes=size, mtime_ns=mtime_ns)
    with place.open(size) as file:
        head = _read(file, HEAD_BYTES)
        facts = facts._replace(kind=kind_of(head, stores.name_of(place.url)))
        if facts.kind == "video":
            return _copied(file, head, facts)
        if size is not None and size > MAX_FILE_BYTES:
            return ReadFile(facts, b"", _too_large(size))
        content = head + _read(file, MAX_FILE_BYTES + 1 - len(head))
    if len(content) > MAX_FILE_BYTES:
        return ReadFile(facts, b"", _too_large(len(content)))
    return _image(facts, content)


def _image(facts: FileFacts, content: bytes) -> ReadFile:
    facts = facts._replace(size_bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
    return ReadFile(facts, content, None if content else EMPTY)


def _copied(file: BinaryIO, head: bytes, facts: FileFacts) -> ReadFile:
    """A video from where it can only be read from its beginning to its end."""
    digest, size = hashlib.sha256(head), len(head)
    with tempfile.NamedTemporaryFile(prefix="client-video-", delete=False) as copy, ExitStack() as undo:
        video = VideoFile(Path(copy.name), is_copy=True)
        undo.callback(video.discard)
        copy.write(head)
        while block := file.read(CHUNK_BYTES):
            digest.update(block)
            copy.write(block)
            size += len(block)
        if size > 0:
            undo.pop_all()
    facts = facts._replace(size_bytes=size, sha256=digest.hexdigest())
    return ReadFile(facts, b"", video=video) if size else ReadFile(facts, b"", EMPTY)


def _explain(error: OSError | ValueError) -> RowError:
    if isinstance(error, ValueError):  # a NUL in the path
        return RowError(code="not_found", message=str(error))
    code, message = _CODES.get(error.errno or 0, ("read_failed", error.strerror or str(error)))
    return RowError(code=code, message=message)


def _too_large(size_bytes: int) -> RowError:
    return RowError(code="too_many_bytes", message=f"{size_bytes:,} bytes; no image over {MAX_FILE_BYTES:,} is read")


def _read(file: BinaryIO, size_bytes: int) -> bytes:
    """So many bytes, or all there are: web servers give them as they come."""
    parts = []
    while size_bytes > 0 and (part := file.read(size_bytes)):
        parts.append(part)
        size_bytes -= len(part)
    return b"".join(parts)
