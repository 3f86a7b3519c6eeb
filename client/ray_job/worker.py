"""What a Ray worker does: one client for as long as it lives, and one part after another."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from client.answers import error_row
from client.async_scorer import AsyncScorer
from client.options import ScoreOptions
from client.pipeline import Pipeline
from client.progress import Tally
from client.ray_job.partitions import read_manifest
from client.ray_job.result_folder import RunFolder
from client.reading import FileFacts
from client.rows import Row, RowError, printable_path
from client.sources.finding import Found
from client.writers import open_writer
from lnclip.errors import LnclipError

TRIES = 4
"""For a part. Ray itself would go on for ever with a part that kills every worker."""


@dataclass(frozen=True, kw_only=True)
class WorkerJob:
    """The same for all workers."""

    folder: RunFolder
    urls: Sequence[str] | None
    options: ScoreOptions
    directory: Path
    """The driver's working directory: paths may be relative to it."""


class Receipt(BaseModel):
    """What the driver hears of a part."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ok: int = 0
    no_face: int = 0
    faces: int = 0
    codes: dict[str, int] = {}
    """Errors by code."""

    failure: str | None = None
    """Why there is no part, in words for people."""


class Partition(TypedDict):
    """A batch of one, as Ray Data hands it over."""

    number: NDArray[np.int64]


class PartScorer:
    """One of the pool; ``ray.data.Dataset.map_batches`` makes it and calls it.

    It connects when it is first called, not when it is made, and hands the user's errors over as
    receipts: Ray would wrap them into its own, with traces of its inside.
    """

    def __init__(self, job: WorkerJob) -> None:
        self._job = job
        self._runner = asyncio.Runner()
        self._scorer: AsyncScorer | None = None

    def __call__(self, partition: Partition) -> dict[str, list[str]]:
        """Make a part.

        Returns:
            Its ``receipt``, JSON of ``Receipt``.
        """
        [number] = partition["number"].tolist()
        try:
            receipt = self._runner.run(self._score(number))
        except LnclipError as error:
            receipt = Receipt(failure=f"worker on {socket.gethostname()}: {error}")
        except OSError as error:
            hint = "every node must see the same folders, and one run at a time may write there"
            receipt = Receipt(failure=f"worker on {socket.gethostname()}: {error}: {hint}")
        return {"receipt": [receipt.model_dump_json()]}

    def close(self) -> None:
        """Disconnect; a worker of Ray's is not asked to, it ends with its process."""
        if self._scorer is not None:
            self._runner.run(self._scorer.__aexit__(None, None, None))
        self._runner.close()

    async def _score(self, number: int) -> Receipt:
        folder, tally = self._job.folder, Tally()
        finds = read_manifest(folder.manifest(number))
        is_tried_enough = len(folder.drafts(number)) >= TRIES
        draft = folder.new_draft(number)
        with open_writer(draft) as writer:
            async for rows in _given_up(finds) if is_tried_enough else await self._rows(finds):
                await asyncio.to_thread(writer.write, rows)
                tally.add(rows)
        draft.replace(folder.part(number))
        return Receipt(ok=tally.ok, no_face=tally.no_face, faces=tally.faces, codes=dict(tally.codes))

    async def _rows(self, finds: Sequence[Found]) -> AsyncGenerator[list[Row], None]:
        scorer = self._scorer = self._scorer or await self._connect()
        return Pipeline(iter(finds), scorer.score_found, limit=scorer.limit, chunk_size=scorer.chunk_size).run()

    async def _connect(self) -> AsyncScorer:
        os.chdir(self._job.directory)  # this process has no other purpose
        return await AsyncScorer(self._job.urls, self._job.options).__aenter__()


async def _given_up(finds: Sequence[Found]) -> AsyncGenerator[list[Row], None]:
    """One of these inputs kills whoever scores it, but nobody lived to say which."""
    reason = f"{TRIES} workers died while they scored {len(finds)} inputs with this one among them"
    error = RowError(code="aborted", message=f"{reason}; --resume tries smaller parts")
    yield [error_row(FileFacts(printable_path(found.path), columns=found.columns), error, 0.0) for found in finds]
