"""A gRPC server that speaks Triton's protocol and does as it is told: a real peer for deadlines and retries."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager

import grpc
import numpy as np
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import serialize_byte_tensor

from lnclip.spec import PreprocessSpec

MODEL = {"name": "peer", "artifact_id": "0" * 16, "threshold": 0.5}


class RefusalError(Exception):
    def __init__(self, code: grpc.StatusCode, message: str = "") -> None:
        super().__init__(message)
        self.code = code


def ensemble_answer(p_fakes: tuple[float, ...] = (0.7,), **changed: np.ndarray) -> dict[str, np.ndarray]:
    n = len(p_fakes)
    verdict = "no_face" if not n else "fake" if max(p_fakes) >= 0.5 else "real"
    return {
        "verdict": texts(verdict),
        "p_fake": np.array(p_fakes[:1], np.float32),
        "face_p_fake": np.array(p_fakes, np.float32),
        "face_box": np.tile(np.float32([1, 2, 3, 4.1]), (n, 1)),
        "face_landmarks": np.zeros((n, 5, 2), np.float32),
        "face_score": np.ones(n, np.float32),
        "face_flags": texts(*["small blurred"] * n),
        "frame_size": np.int32([640, 480]),
        "warnings": texts("exif_rotated"),
        "model": texts(json.dumps(MODEL)),
    } | changed


def encoder_answer(crops: np.ndarray, spec: PreprocessSpec) -> dict[str, np.ndarray]:
    """p_fake is the crop's mean grey; more than four at once are refused, in Triton's words."""
    n = len(crops)
    if n > 4:
        message = f"[request id: <id_unknown>] inference request batch-size must be <= 4 for 'face_encoder', got {n}"
        raise RefusalError(grpc.StatusCode.INVALID_ARGUMENT, message)
    return {
        "p_fake": (crops.reshape(n, -1).mean(1, keepdims=True) / 255).astype(np.float32),
        "threshold": np.full((n, 1), 0.5, np.float32),
        "artifact_id": np.tile(np.int32([1, 2]), (n, 1)),
        "spec_id": np.tile(spec.spec_id.words(), (n, 1)),
    }


def texts(*words: str) -> np.ndarray:
    return np.array([word.encode() for word in words], np.object_)


class Peer(service_pb2_grpc.GRPCInferenceServiceServicer):
    """Answers with ``behave(request)``: tensors, or a RefusalError raised."""

    def __init__(
        self, behave: Callable[[service_pb2.ModelInferRequest], dict[str, np.ndarray]], *, ready: bool = True
    ) -> None:
        self.behave = behave
        self.ready = ready
        self.requests: list[service_pb2.ModelInferRequest] = []
        self.in_flight = self.most_in_flight = 0
        self._lock = threading.Lock()

    def ModelReady(self, request, context):  # noqa: N802 - the protocol's names
        return service_pb2.ModelReadyResponse(ready=self.ready)

    def ModelMetadata(self, request, context):  # noqa: N802
        metadata = service_pb2.ModelMetadataResponse(name=request.name)
        metadata.inputs.add(name="crops", datatype="UINT8", shape=[-1, 32, 32, 3])
        return metadata

    def ModelInfer(self, request, context):  # noqa: N802
        with self._lock:
            self.requests.append(request)
            self.in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            tensors = self.behave(request)
        except RefusalError as refusal:
            context.abort(refusal.code, str(refusal))
        finally:
            with self._lock:
                self.in_flight -= 1
        return _response(tensors, [output.name for output in request.outputs])


def _response(tensors: dict[str, np.ndarray], wanted: list[str]) -> service_pb2.ModelInferResponse:
    response = service_pb2.ModelInferResponse(model_name="peer")
    for name in wanted:
        values = tensors[name]
        kind = {"O": "BYTES", "f": "FP32", "i": "INT32"}[values.dtype.kind]
        response.outputs.add(name=name, datatype=kind, shape=values.shape)
        raw = values.tobytes() if kind != "BYTES" else serialize_byte_tensor(values).item() if len(values) else b""
        response.raw_output_contents.append(raw)
    return response


@contextmanager
def serve(peer: Peer, port: int = 0) -> Iterator[str]:
    """Yields its address."""
    server = grpc.server(futures.ThreadPoolExecutor(32), options=[("grpc.max_receive_message_length", -1)])
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(peer, server)
    port = server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(0).wait()


@contextmanager
def serve_wedged(port: int = 0) -> Iterator[tuple[Peer, str]]:
    """Says that it is ready, takes requests, and answers none."""
    over = threading.Event()

    def behave(request: service_pb2.ModelInferRequest) -> dict[str, np.ndarray]:
        over.wait()
        return ensemble_answer()

    peer = Peer(behave)
    with serve(peer, port) as url:
        try:
            yield peer, url
        finally:
            over.set()


def after(refusals: list[RefusalError]) -> Callable[[service_pb2.ModelInferRequest], dict[str, np.ndarray]]:
    """Refuses in that order, then answers."""
    left = iter(refusals)

    def behave(request: service_pb2.ModelInferRequest) -> dict[str, np.ndarray]:
        refusal = next(left, None)
        if refusal is not None:
            raise refusal
        return ensemble_answer()

    return behave


def slow(seconds: float) -> Callable[[service_pb2.ModelInferRequest], dict[str, np.ndarray]]:
    def behave(request: service_pb2.ModelInferRequest) -> dict[str, np.ndarray]:
        time.sleep(seconds)
        return ensemble_answer()

    return behave


def sent_crops(request: service_pb2.ModelInferRequest) -> np.ndarray:
    [tensor] = request.inputs
    return np.frombuffer(request.raw_input_contents[0], np.uint8).reshape(tuple(tensor.shape))


def sent_image(request: service_pb2.ModelInferRequest) -> bytes:
    """Without the four bytes of its length."""
    return request.raw_input_contents[0][4:]
