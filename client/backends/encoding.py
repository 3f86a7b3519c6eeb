"""Crops in, scores out: what is asked of an encoder wherever it runs, and the served one.

Legend: B crops, S their side.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import AsyncExitStack
from types import TracebackType
from typing import NamedTuple, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc import InferInput, InferResult

from client.calling import CallError
from client.rows import RowError
from client.servers import Servers
from lnclip.contract import ARTIFACT_ID, CROPS, ENCODER, P_FAKE, SPEC_ID, THRESHOLD, TensorSpec
from lnclip.errors import EngineError, ServerError
from lnclip.spec import PreprocessSpec

Crops = NDArray[np.uint8]
"""(B, S, S, 3) RGB."""

OUTPUTS = tuple(tensor.name for tensor in (P_FAKE, THRESHOLD, ARTIFACT_ID, SPEC_ID))

Kind = TypeVar("Kind", bound=np.generic)


class CropAnswers(NamedTuple):
    """What an encoder says of B crops."""

    p_fake: NDArray[np.float32]
    """(B,), as ``threshold``."""

    threshold: NDArray[np.float32]
    artifact_id: NDArray[np.int32]
    """(B, 2), as ``spec_id``."""

    spec_id: NDArray[np.int32]

    def split(self, sizes: Sequence[int]) -> list[CropAnswers]:
        """The answers of parts of the batch, which have so many crops each."""
        ends = np.cumsum(sizes)[:-1]
        return [CropAnswers(*part) for part in zip(*(np.split(values, ends) for values in self), strict=True)]


class CropEncoder(Protocol):
    """Scores crops; an asynchronous context manager.

    Entering raises what makes scoring impossible: ``ServerError``, ``SpecError``, ``ArtifactError``.
    """

    @property
    def name(self) -> str:
        """Where it runs, for messages."""
        ...

    @property
    def spec(self) -> PreprocessSpec | None:
        """That of its weights; None where it cannot be known."""
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...

    async def input_px(self) -> int:
        """S."""
        ...

    async def encode(self, crops_NHWC: Crops) -> CropAnswers:
        """Score a batch.

        Raises:
            CallError: no answer; ``internal`` when one of the crops got what is no number.
            EngineError: the answer is not what the contract says.
        """
        ...

    def stop_retrying(self) -> None:
        """From now on a failed call is an error at once."""
        ...


async def encode_each(encoder: CropEncoder, parts: Sequence[Crops]) -> list[CropAnswers | CallError]:
    """Score several batches as one; a part that the encoder fails at does not take the others with it.

    Raises:
        CallError: no answer, whatever the crops.
        EngineError: as ``encode``.
    """
    try:
        answers = await encoder.encode(parts[0] if len(parts) == 1 else np.concatenate(parts))
        return list(answers.split([len(part) for part in parts]))
    except CallError as error:
        if error.error.code != "internal":
            raise
        if len(parts) == 1:
            return [error]
    return [outcome for part in parts for outcome in await encode_each(encoder, [part])]


def internal_error(message: str) -> CallError:
    """What the server would have answered with the status INTERNAL."""
    return CallError(RowError(code="internal", message=message), retryable=False)


def read_tensor(result: InferResult, spec: TensorSpec, batch: int, kind: type[Kind]) -> NDArray[Kind]:
    """One tensor of a batching model's answer, (batch, dims of ``spec``).

    Raises:
        EngineError: it is missing, or not what the contract says.
    """
    tensor: NDArray[Kind] | None = result.as_numpy(spec.name)
    wanted = (batch, *spec.dims)
    if tensor is None or tensor.shape != wanted or tensor.dtype != kind:
        what = "missing" if tensor is None else f"{tensor.dtype} {tensor.shape}"
        raise EngineError(f"{spec.name} is {what}, not {spec.dtype} {wanted}")
    return tensor


class ServedCropEncoder:
    """``face_encoder`` on one server or several."""

    spec = None

    def __init__(self, servers: Servers) -> None:
        """``servers`` are entered with it."""
        self._servers = servers
        self._largest: int | None = None
        """Batch that it takes, once it has said so."""

    @property
    def name(self) -> str:
        """See ``CropEncoder``."""
        return ", ".join(self._servers.urls)

    async def __aenter__(self) -> Self:
        """Connect.

        Raises:
            ServerError: no server can be reached that serves the encoder.
        """
        async with AsyncExitStack() as undo:
            await undo.enter_async_context(self._servers)
            await self._servers.check_ready(ENCODER)
            undo.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Disconnect."""
        await self._servers.__aexit__(kind, error, traceback)

    async def input_px(self) -> int:
        """Ask the server.

        Raises:
            CallError: it does not say.
            ServerError: it serves something else under that name.
        """
        shape = await self._servers.input_shape(ENCODER)
        if len(shape) != 4:
            raise ServerError(f"{ENCODER} at {self.name} reads {shape}, not (B, S, S, 3): it is not of this project")
        return shape[1]

    async def encode(self, crops_NHWC: Crops) -> CropAnswers:
        """See ``CropEncoder``; several requests when the encoder takes smaller batches."""
        size = self._largest or len(crops_NHWC)
        if len(crops_NHWC) <= size:
            try:
                return await self._request(crops_NHWC)
            except CallError as error:
                limit = re.search(r"batch-size must be <= (\d+)", error.error.message)
                if limit is None or not 0 < int(limit[1]) < len(crops_NHWC):
                    raise
                size = self._largest = int(limit[1])
        parts = [await self._request(crops_NHWC[start : start + size]) for start in range(0, len(crops_NHWC), size)]
        return CropAnswers(*map(np.concatenate, zip(*parts, strict=True)))

    def stop_retrying(self) -> None:
        """See ``CropEncoder``."""
        self._servers.stop_retrying()

    async def _request(self, crops_NHWC: Crops) -> CropAnswers:
        tensor = InferInput(CROPS.name, list(crops_NHWC.shape), CROPS.dtype).set_data_from_numpy(crops_NHWC)
        result = await self._servers.infer(ENCODER, [tensor], outputs=OUTPUTS)
        batch = len(crops_NHWC)
        return CropAnswers(
            read_tensor(result, P_FAKE, batch, np.float32)[:, 0],
            read_tensor(result, THRESHOLD, batch, np.float32)[:, 0],
            read_tensor(result, ARTIFACT_ID, batch, np.int32),
            read_tensor(result, SPEC_ID, batch, np.int32),
        )
