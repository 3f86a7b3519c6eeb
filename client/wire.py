"""An image's request as bytes: what tritonclient would send, with the image copied once instead of four times.

A protobuf message may be written in parts, one after the other: the part that says what is asked is the
same for every image, and the image follows as its last field.
"""

from __future__ import annotations

from collections.abc import Sequence

from tritonclient.grpc import service_pb2

from client.calling import Parameters
from lnclip.contract import TensorSpec

RAW_INPUT_CONTENTS = b"\x3a"
"""Field 7, of bytes. Source: ModelInferRequest in KServe's grpc_predict_v2.proto."""


def question(model: str, tensor: TensorSpec, outputs: Sequence[str], parameters: Parameters) -> bytes:
    """All of a request but the content of its one input.

    Args:
        model: that is asked.
        tensor: its input, without dimensions that vary.
        outputs: that are wanted.
        parameters: of the request.
    """
    request = service_pb2.ModelInferRequest(model_name=model)
    request.inputs.add(name=tensor.name, datatype=tensor.dtype, shape=tensor.dims)
    for name in outputs:
        request.outputs.add(name=name)
    for name, value in parameters.items():
        kind = {int: "int64_param", float: "double_param", str: "string_param"}[type(value)]
        setattr(request.parameters[name], kind, value)
    message: bytes = request.SerializeToString()
    return message


def with_image(question: bytes, image: bytes) -> bytes:
    """The whole request: BYTES are sent with their length in four bytes before them."""
    length = len(image).to_bytes(4, "little")
    return b"".join((question, RAW_INPUT_CONTENTS, _varint(len(image) + 4), length, image))


def _varint(number: int) -> bytes:
    """Seven bits a byte, the lowest first; all but the last have the eighth set."""
    written = bytearray()
    while number > 0x7F:
        written.append(number & 0x7F | 0x80)
        number >>= 7
    written.append(number)
    return bytes(written)
