"""Rows as a run makes them, without a run."""

from __future__ import annotations

from pathlib import Path

from client.rows import Row, RowError


def scored(path: Path, p_fake: float = 0.5) -> Row:
    """The row of a file as it is now."""
    status = path.stat()
    return Row(
        path=str(path), size_bytes=status.st_size, mtime_ns=status.st_mtime_ns, sha256="ab" * 32, status="ok",
        verdict="fake", p_fake=p_fake, num_faces=1, width=9, height=9, error=None, model={}, elapsed_ms=1,
    )  # fmt: skip


def failed(path: Path, code: str) -> Row:
    error = RowError(code=code, message="so it is")
    return scored(path).model_copy(update={"status": "error", "p_fake": None, "verdict": None, "error": error})
