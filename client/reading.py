"""One file's bytes, size, time and hash: what a row says about it before any server is asked."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from typing import NamedTuple

from client.rows import RowError, printable_path
from lnclip.intake import MAX_PIXELS

MAX_FILE_BYTES = 3 * MAX_PIXELS + 4096
"""More than any image that the server reads; larger files are hashed and not sent."""

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


class ReadFile(NamedTuple):
    """A file that was read, or the reason why not."""

    facts: FileFacts
    content: bytes
    error: RowError | None = None


def read_file(path: str) -> ReadFile:
    """Read and hash a file; blocking. Trouble is in the answer, never raised."""
    facts = FileFacts(printable_path(path))
    try:
        # O_NONBLOCK: opening a pipe that nobody writes to must not wait
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb", buffering=0) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                return ReadFile(facts, b"", RowError(code="not_a_file", message="a pipe, socket, device or folder"))
            if status.st_size > MAX_FILE_BYTES:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
                facts = FileFacts(facts.path, status.st_size, status.st_mtime_ns, digest)
                message = f"{status.st_size:,} bytes; no image over {MAX_FILE_BYTES:,} is read"
                return ReadFile(facts, b"", RowError(code="too_many_bytes", message=message))
            content = file.readall()
    except OSError as error:
        code, message = _CODES.get(error.errno or 0, ("read_failed", error.strerror or str(error)))
        return ReadFile(facts, b"", RowError(code=code, message=message))
    except ValueError as error:  # a NUL in the path
        return ReadFile(facts, b"", RowError(code="not_found", message=str(error)))
    digest = hashlib.sha256(content).hexdigest()
    return ReadFile(FileFacts(facts.path, len(content), status.st_mtime_ns, digest), content)


def from_bytes(content: bytes) -> ReadFile:
    """As if it were a file without a name."""
    return ReadFile(FileFacts("", len(content), None, hashlib.sha256(content).hexdigest()), content)
