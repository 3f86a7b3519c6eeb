"""The served ensemble: one request for one image."""

from __future__ import annotations

from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

import numpy as np
from tritonclient.grpc import InferInput

from client.answers import ENSEMBLE_OUTPUTS, ImageAnswer, read_answer
from client.calling import Parameters
from client.servers import Servers
from lnclip.contract import ENSEMBLE, IMAGE
from lnclip.scoring import RequestParameters


class EnsembleBackend:
    """``deepfake_detector`` on one server or several."""

    def __init__(self, servers: Servers, parameters: Parameters) -> None:
        """``parameters``: those of the request that are to differ from the server's defaults."""
        self._servers = servers
        self._parameters = parameters

    async def __aenter__(self) -> Self:
        """Connect.

        Raises:
            ServerError: no server can be reached that serves the ensemble.
        """
        async with AsyncExitStack() as undo:
            await undo.enter_async_context(self._servers)
            await self._servers.check_ready(ENSEMBLE)
            undo.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Disconnect."""
        await self._servers.__aexit__(kind, error, traceback)

    async def answer(self, image: bytes, *, scale: float = 1.0) -> ImageAnswer:
        """See ``Backend``."""
        tensor = InferInput(IMAGE.name, list(IMAGE.dims), IMAGE.dtype)
        tensor.set_data_from_numpy(np.array([image], np.object_))  # np.bytes_ would cut trailing zeros off
        parameters = scaled(self._parameters, scale)
        result = await self._servers.infer(ENSEMBLE, [tensor], outputs=ENSEMBLE_OUTPUTS, parameters=parameters)
        return read_answer(result)

    def stop_retrying(self) -> None:
        """See ``Backend``."""
        self._servers.stop_retrying()


def scaled(parameters: Parameters, scale: float) -> Parameters:
    """What to ask of an image that was shrunk by ``scale``: its faces are so much smaller."""
    if scale == 1.0:
        return parameters
    smallest_px = RequestParameters.parse(parameters).min_face_px
    return {**parameters, "min_face_px": smallest_px * scale}
