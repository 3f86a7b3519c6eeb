"""Which model answers: the encoder names its artifact, the ensemble describes it."""

from __future__ import annotations

import asyncio
import io
import json
from typing import NamedTuple

import numpy as np
from PIL import Image
from tritonclient.grpc import InferInput

from client.backends.encoding import internal_error
from client.backends.faces import Model
from client.servers import Servers
from lnclip.contract import ENSEMBLE, IMAGE, MODEL
from lnclip.errors import EngineError
from lnclip.scoring import ServedModel

ASKS = 5
"""Of the ensemble for the model of one answer: each may be answered by another server, or after another reload."""


class Description(NamedTuple):
    """What the ensemble says of the model that answers."""

    served: ServedModel
    model: Model
    """The same as rows hold it."""


class ServedModels:
    """The models that answered so far, by artifact and detector."""

    def __init__(self, servers: Servers) -> None:
        """``servers``: entered."""
        self._servers = servers
        self._known: dict[tuple[str, str], Description] = {}
        self._asking = asyncio.Lock()

    async def ask(self) -> Description:
        """Have the ensemble score a small grey picture, and read which model did it.

        Raises:
            CallError: no answer.
            EngineError: the answer is not what the contract says.
        """
        tensor = InferInput(IMAGE.name, list(IMAGE.dims), IMAGE.dtype)
        tensor.set_data_from_numpy(np.array([_grey_picture()], np.object_))
        result = await self._servers.infer(ENSEMBLE, [tensor], outputs=[MODEL.name])
        answer = result.as_numpy(MODEL.name)
        if answer is None or answer.shape != MODEL.dims:
            raise EngineError(f"{MODEL.name} is {answer!r}, not one JSON object")
        try:
            model = json.loads(answer[0])
            description = Description(ServedModel.model_validate(model), model)
        except ValueError as error:  # no JSON, or no such model
            raise EngineError(f"{MODEL.name} is not of this version: {error}") from error
        self._known[description.served.artifact_id, description.served.detector] = description
        return description

    async def find(self, artifact_id: str, detector: str) -> Description:
        """The model of an answer of the encoder.

        Raises:
            CallError: the ensemble does not answer, or not with that model.
            EngineError: as ``ask``.
        """
        key = (artifact_id, detector)
        async with self._asking:  # one asks, those that wait then know
            for _ in range(ASKS):
                if key in self._known:
                    break
                await self.ask()
        if key not in self._known:
            raise internal_error(f"artifact {artifact_id} answered with {detector}, and the ensemble names others")
        return self._known[key]


def _grey_picture() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (64, 64), (128, 128, 128)).save(file, "BMP")
    return file.getvalue()
