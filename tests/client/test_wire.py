"""What is written by hand is what the official client sends, and what the server's protobuf reads."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from tritonclient.grpc import InferInput, service_pb2

from client.answers import ENSEMBLE_OUTPUTS, read_answer
from client.calling import CallPolicy
from client.limits import Limit
from client.servers import Servers
from client.wire import question, with_image
from lnclip.contract import ENSEMBLE, IMAGE
from tests.client.peer import Peer, ensemble_answer, serve

PARAMETERS = {"max_faces": 3, "detector_threshold": 0.5, "aggregate": "mean"}


@pytest.mark.parametrize(
    "image", [b"", b"picture\x00\x00", bytes(123), bytes(124), bytes(16_379), bytes(16_380)], ids=len
)
def test_a_request_reads_as_what_tritonclient_sends(image: bytes) -> None:
    """With the four bytes before it an image is just below or above what one and two bytes of length can say."""
    peer = Peer(lambda _: ensemble_answer())

    async def both() -> None:
        with serve(peer) as url:
            async with Servers([url], CallPolicy(), Limit(1)) as servers:
                tensor = InferInput(IMAGE.name, list(IMAGE.dims), IMAGE.dtype)
                tensor.set_data_from_numpy(np.array([image], np.object_))
                await servers.infer(ENSEMBLE, [tensor], outputs=ENSEMBLE_OUTPUTS, parameters=PARAMETERS)
                asked = question(ENSEMBLE, IMAGE, ENSEMBLE_OUTPUTS, PARAMETERS)
                assert read_answer(await servers.send(with_image(asked, image))).verdict == "fake"

    asyncio.run(both())
    official, ours = peer.requests
    assert ours == official
    assert ours.raw_input_contents[0] == len(image).to_bytes(4, "little") + image


def test_the_bytes_are_those_of_the_protobuf_encoding() -> None:
    """By hand: field 1 (model_name) "m", field 5 (inputs) {1: "image", 2: "BYTES", 3: [1]}, field 7 (contents)."""
    asked = question("m", IMAGE, [], {})
    assert with_image(asked, b"JPEG") == (
        b"\x0a\x01m" + b"\x2a\x11" + b"\x0a\x05image" + b"\x12\x05BYTES" + b"\x1a\x01\x01" + b"\x3a\x08\x04\0\0\0JPEG"
    )


def test_a_large_image_is_read_back_whole() -> None:
    image = bytes(range(256)) * 12_000
    request = service_pb2.ModelInferRequest.FromString(with_image(question("m", IMAGE, ["p"], {}), image))
    assert request.raw_input_contents[0][4:] == image
    assert [output.name for output in request.outputs] == ["p"]
