"""A peer that speaks Triton's protocol in a process of its own, answers the ensemble at once, and computes nothing."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection

import numpy as np

from lnclip.errors import LnclipError


@contextmanager
def serving(delay_s: float) -> Iterator[str]:
    """Address of a peer in another process that answers every request after that time."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(delay_s, theirs), daemon=True)
    process.start()
    theirs.close()
    try:
        yield f"127.0.0.1:{ours.recv()}"
    except EOFError as error:
        raise LnclipError("the peer's process died; its error stands above") from error
    finally:
        process.terminate()
        process.join()


def _serve(delay_s: float, pipe: Connection) -> None:
    asyncio.run(_serve_forever(delay_s, pipe))


async def _serve_forever(delay_s: float, pipe: Connection) -> None:
    import grpc  # type: ignore[import-untyped]
    from tritonclient.grpc import service_pb2

    answer = _answer()
    ready: bytes = service_pb2.ModelReadyResponse(ready=True).SerializeToString()

    async def infer(request: bytes, context: object) -> bytes:  # noqa: ARG001 - gRPC's signature
        if delay_s:
            await asyncio.sleep(delay_s)
        return answer

    async def model_ready(request: bytes, context: object) -> bytes:  # noqa: ARG001
        return ready

    server = grpc.aio.server(options=[("grpc.max_receive_message_length", -1)])
    handlers = {  # without (de)serialisers: bytes pass as they are, so the peer is fast
        "ModelInfer": grpc.unary_unary_rpc_method_handler(infer),
        "ModelReady": grpc.unary_unary_rpc_method_handler(model_ready),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("inference.GRPCInferenceService", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    pipe.send(port)
    await server.wait_for_termination()


def _answer() -> bytes:
    """Of an image with one face; numbers as long as real ones."""
    from tritonclient.grpc import service_pb2
    from tritonclient.utils import serialize_byte_tensor

    from lnclip.contract import CONTRACT, ENSEMBLE
    from lnclip.spec import PreprocessSpec

    rng = np.random.default_rng(0)
    spec = json.loads(PreprocessSpec().model_dump_json())
    model = {"name": "clip", "artifact_id": "0" * 16, "spec": spec, "threshold": 0.5, "detector": "mtcnn"}
    texts = {"verdict": [b"fake"], "face_flags": [b"blurred"], "warnings": [], "model": [json.dumps(model).encode()]}
    response = service_pb2.ModelInferResponse(model_name=ENSEMBLE)
    for tensor in CONTRACT[ENSEMBLE].outputs:
        shape = tuple(1 if dim == -1 else dim for dim in tensor.dims if isinstance(dim, int))
        if tensor.dtype == "BYTES":
            words = np.array(texts[tensor.name], np.object_)
            raw = serialize_byte_tensor(words).item() if words.size else b""
            shape = words.shape
        elif tensor.dtype == "INT32":
            raw = np.array([1280, 720], np.int32).tobytes()
        else:
            raw = rng.random(shape, np.float32).tobytes()
        response.outputs.add(name=tensor.name, datatype=tensor.dtype, shape=shape)
        response.raw_output_contents.append(raw)
    answer: bytes = response.SerializeToString()
    return answer
