"""The served ensemble: one request for one image."""

from __future__ import annotations

from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

from client.answers import ENSEMBLE_OUTPUTS, ImageAnswer, read_answer
from client.calling import Parameters
from client.servers import Servers
from client.wire import question, with_image
from lnclip.contract import ENSEMBLE, IMAGE
from lnclip.scoring import RequestParameters


class EnsembleBackend:
    """``deepfake_detector`` on one server or several."""

    def __init__(self, servers: Servers, parameters: Parameters) -> None:
        """``parameters``: those of the request that are to differ from the server's defaults."""
        self._servers = servers
        self._parameters = parameters
        self._question = _question(parameters)

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
        asked = self._question if scale == 1.0 else _question(scaled(self._parameters, scale))
        return read_answer(await self._servers.send(with_image(asked, image)))

    def stop_retrying(self) -> None:
        """See ``Backend``."""
        self._servers.stop_retrying()


def _question(parameters: Parameters) -> bytes:
    return question(ENSEMBLE, IMAGE, ENSEMBLE_OUTPUTS, parameters)


def scaled(parameters: Parameters, scale: float) -> Parameters:
    """What to ask of an image that was shrunk by ``scale``: its faces are so much smaller."""
    if scale == 1.0:
        return parameters
    smallest_px = RequestParameters.parse(parameters).min_face_px
    return {**parameters, "min_face_px": smallest_px * scale}
