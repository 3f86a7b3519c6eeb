"""Crops through the encoder of a running server, as a request of anybody's would go."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lnclip.contract import CROPS, ENCODER, ENCODER_OUTPUTS
from lnclip.engines import EncoderAnswer
from lnclip.errors import ServerError
from lnclip.running import RunningServer

ANSWER_S = 60.0
"""On a busy server the request waits in the queue with everybody else's."""


def encode(server: RunningServer, crops_NHWC: NDArray[np.uint8]) -> EncoderAnswer:
    """(B, S, S, 3) uint8 RGB -> the served outputs, by the newest version.

    Raises:
        ServerError: it refused, or did not answer in time.
    """
    import tritonclient.grpc as triton
    from tritonclient.utils import InferenceServerException

    crops = triton.InferInput(CROPS.name, list(crops_NHWC.shape), CROPS.dtype)
    crops.set_data_from_numpy(crops_NHWC)
    with triton.InferenceServerClient(server.grpc_url) as client:
        try:
            answer = client.infer(ENCODER, [crops], client_timeout=ANSWER_S)
        except InferenceServerException as error:
            raise ServerError(f"{ENCODER} on {server.grpc_url} does not answer: {error.message()}") from error
    return EncoderAnswer(*(answer.as_numpy(output.name) for output in ENCODER_OUTPUTS))
