"""Short names for values: the same content has the same id, on every machine.

An id is the first 8 bytes of a SHA-256. It travels as two INT32 words, because OpenVINO's CPU
plugin computes in 32 bits and saturates INT64 constants; people read it as 16 hex digits.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel


class ContentId(NamedTuple):
    """Eight bytes of a SHA-256 as two big-endian signed 32-bit words."""

    high: int
    low: int

    @property
    def hex(self) -> str:
        """16 lower-case hex digits."""
        return self.words().astype(">i4").tobytes().hex()

    def words(self) -> NDArray[np.int32]:
        """(2,) int32, as served."""
        return np.array(self, np.int32)

    @classmethod
    def from_words(cls, words: NDArray[np.int32]) -> ContentId:
        """Back from the served form.

        Args:
            words: (2,) int32.
        """
        high, low = words.tolist()
        return cls(high, low)


def content_id(value: BaseModel) -> ContentId:
    """The id of a value: SHA-256 over its JSON with sorted keys and no spaces."""
    text = json.dumps(value.model_dump(mode="json"), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return ContentId(*np.frombuffer(hashlib.sha256(text.encode()).digest()[:8], ">i4").tolist())


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
