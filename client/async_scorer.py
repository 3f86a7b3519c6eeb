"""Scoring inside an event loop: one connection, a bounded number of requests in flight."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import ParamSpec, Self, TypeVar

import numpy as np
from tritonclient.grpc import InferInput

from client.answers import ENSEMBLE_OUTPUTS, error_row, image_row
from client.calling import CallError, CallPolicy, Parameters, Triton
from client.crops import Crop, CropEncoder, stack
from client.pipeline import Pipeline
from client.reading import FileFacts, ReadFile, from_bytes, read_file
from client.rows import Row, RowError, printable_path
from client.walking import Found, walk
from lnclip.contract import ENSEMBLE, IMAGE
from lnclip.errors import EngineError
from lnclip.running import grpc_url
from lnclip.scoring import RequestParameters
from lnclip.spec import PreprocessSpec

StrPath = str | os.PathLike[str]
P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class ScoreOptions:
    """How to score. What is None is left to the server."""

    concurrency: int = 16
    """Requests in flight."""

    policy: CallPolicy = field(default_factory=CallPolicy)
    parameters: Parameters = field(default_factory=dict)
    """Those of ``lnclip.scoring.RequestParameters`` that are to differ from the server's defaults."""

    crops: bool = False
    """The files are faces that were cut before: no detector, straight to the encoder."""

    crop_batch: int = 32
    """Crops in one request; the encoder's own limit applies too."""

    spec: PreprocessSpec | None = None
    """What crops are brought to; None is the default spec at the encoder's input side."""


class AsyncScorer:
    """A connection to a server that scores files; an asynchronous context manager."""

    def __init__(self, url: str | None = None, options: ScoreOptions | None = None) -> None:
        """Nothing is sent before it is entered.

        Args:
            url: gRPC address; None is the server that runs from the working directory.
            options: how to score.

        Raises:
            ConfigError: a request parameter has a value that cannot be.
            ServerError: no ``url``, and no server runs from here.
        """
        self.options = options or ScoreOptions()
        RequestParameters.parse(self.options.parameters)
        self._triton = Triton(grpc_url(url), self.options.policy)
        self._encoder: CropEncoder | None = None

    async def __aenter__(self) -> Self:
        """Connect, and see that the model is served.

        Raises:
            ServerError: the server cannot be reached, or serves something else.
            SpecError: for crops: the encoder was trained for another spec.
        """
        self._threads = ThreadPoolExecutor(min(32, self.options.concurrency), "score")
        async with AsyncExitStack() as undo:
            await self._triton.__aenter__()
            undo.push_async_exit(self)
            if self.options.crops:
                self._encoder = await CropEncoder.connect(self._triton, self.options.spec, self.options.crop_batch)
            else:
                await self._triton.check_ready(ENSEMBLE)
            undo.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the connection."""
        await self._triton.__aexit__(kind, error, traceback)
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def score(self, image: StrPath | bytes) -> Row:
        """One file, or the bytes of one. Trouble with it is in the row."""
        started_s = time.perf_counter()
        file = from_bytes(image) if isinstance(image, bytes) else await self._in_thread(read_file, os.fspath(image))
        [row] = await self._score_files([file], started_s)
        return row

    async def score_many(self, paths: Iterable[StrPath]) -> AsyncGenerator[Row, None]:
        """Files and folders: a row for each file below them, in order of completion."""
        async for rows in self.pipeline(paths).run():
            for row in rows:
                yield row

    def pipeline(self, paths: Iterable[StrPath]) -> Pipeline:
        """What ``score_many`` runs, for those who also want to count and to stop."""
        chunk_size = self._encoder.batch_size if self._encoder else 1
        return Pipeline(walk(paths), self._score_found, concurrency=self.options.concurrency, chunk_size=chunk_size)

    def stop_retrying(self) -> None:
        """From now on a failed request is an error row at once."""
        self._triton.budget.close()

    async def _score_found(self, chunk: Sequence[Found]) -> list[Row]:
        started_s = time.perf_counter()
        files = await asyncio.gather(*(self._in_thread(_read_found, found) for found in chunk))
        return await self._score_files(files, started_s)

    async def _score_files(self, files: Sequence[ReadFile], started_s: float) -> list[Row]:
        if self._encoder:
            return await self._score_crops(self._encoder, files, started_s)
        return [await self._score_image(file, started_s) for file in files]

    async def _score_image(self, file: ReadFile, started_s: float) -> Row:
        if file.error is not None:
            return error_row(file.facts, file.error, _ms_since(started_s))
        tensor = InferInput(IMAGE.name, list(IMAGE.dims), IMAGE.dtype)
        tensor.set_data_from_numpy(np.array([file.content], np.object_))  # np.bytes_ would cut trailing zeros off
        try:
            result = await self._triton.infer(
                ENSEMBLE, [tensor], outputs=ENSEMBLE_OUTPUTS, parameters=self.options.parameters
            )
            return image_row(file.facts, result, _ms_since(started_s))
        except CallError as error:
            return error_row(file.facts, error.error, _ms_since(started_s))
        except EngineError as error:
            return error_row(file.facts, RowError(code="bad_answer", message=str(error)), _ms_since(started_s))

    async def _score_crops(self, encoder: CropEncoder, files: Sequence[ReadFile], started_s: float) -> list[Row]:
        """One request for those that can be read; the others have their rows without it."""
        prepared = await asyncio.gather(*(self._in_thread(encoder.prepare, file) for file in files))
        rows = [
            error_row(file.facts, trouble, _ms_since(started_s))
            for file, trouble in zip(files, prepared, strict=True)
            if isinstance(trouble, RowError)
        ]
        crops = [crop for crop in prepared if isinstance(crop, Crop)]
        if not crops:
            return rows
        try:
            answers = await encoder.encode(stack(crops))
        except CallError as error:
            return rows + [error_row(crop.facts, error.error, _ms_since(started_s)) for crop in crops]
        return rows + [encoder.row(crop, answers, index, _ms_since(started_s)) for index, crop in enumerate(crops)]

    def _in_thread(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> asyncio.Future[T]:
        return asyncio.get_running_loop().run_in_executor(self._threads, lambda: call(*args, **kwargs))


def _read_found(found: Found) -> ReadFile:
    if found.what == "folder":
        trouble = RowError(code="folder_unreadable", message="cannot be listed: what lies below it was not scored")
        return ReadFile(FileFacts(printable_path(found.path)), b"", trouble)
    return read_file(found.path)


def _ms_since(started_s: float) -> float:
    return round((time.perf_counter() - started_s) * 1000, 1)
