"""Two borders: who answers an image, and who makes rows of files."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from types import TracebackType
from typing import Protocol, Self

from client.answers import ImageAnswer
from client.reading import ReadFile
from client.rows import Row


class Backend(Protocol):
    """Answers images; an asynchronous context manager.

    Entering raises what makes scoring impossible: ``ServerError``, ``SpecError``, ``ArtifactError``.
    """

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...

    async def answer(self, image: bytes, *, scale: float = 1.0) -> ImageAnswer:
        """Score one image.

        Args:
            image: a file's bytes.
            scale: by which the client shrank it; the smallest face that is asked for shrinks with it.

        Raises:
            CallError: no answer; what a row says about it is its ``error``.
            EngineError: the answer is not what the contract says.
        """
        ...

    def stop_retrying(self) -> None:
        """From now on a failed request is an error at once."""
        ...


class FileScorer(Protocol):
    """Makes rows of files that were read; entering it raises as a ``Backend`` does."""

    @property
    def batch_size(self) -> int:
        """Files that are scored together."""
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...

    async def score(self, files: Sequence[ReadFile], threads: Executor, started_s: float) -> list[Row]:
        """A row for each file, in any order; trouble with one is in its row.

        Args:
            files: at most ``batch_size``.
            threads: for what computes or blocks.
            started_s: ``time.perf_counter()`` when reading them began.
        """
        ...

    def stop_retrying(self) -> None:
        """See ``Backend``."""
        ...
