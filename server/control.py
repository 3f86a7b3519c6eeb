"""Model control of a running server, through the APIs that its key opens."""

from __future__ import annotations

from typing import NamedTuple

from lnclip.errors import ServerError
from lnclip.running import RunningServer
from server.launch import KEY_HEADER

LOAD_S = 300.0
"""A large encoder compiles for minutes on a slow machine."""

ASK_S = 10.0


class ModelState(NamedTuple):
    """One version of one model."""

    name: str
    version: str
    state: str
    """READY, LOADING, UNLOADING or UNAVAILABLE."""

    reason: str
    """Why it is not ready."""


def load_model(server: RunningServer, name: str) -> None:
    """Load or reload a model; the version that serves goes on until the new one is ready.

    Raises:
        ServerError: it did not load (what served before still serves), or the server does not answer.
    """
    import tritonclient.grpc as triton
    from tritonclient.utils import InferenceServerException

    with triton.InferenceServerClient(server.grpc_url) as client:
        try:
            client.load_model(name, headers=_headers(server), client_timeout=LOAD_S)
        except InferenceServerException as error:
            raise ServerError(f"{name} did not load on {server.grpc_url}: {error.message()}") from error


def model_states(server: RunningServer) -> list[ModelState]:
    """Every version the server knows of.

    Raises:
        ServerError: it does not answer.
    """
    import tritonclient.grpc as triton
    from tritonclient.utils import InferenceServerException

    with triton.InferenceServerClient(server.grpc_url) as client:
        try:
            index = client.get_model_repository_index(headers=_headers(server), client_timeout=ASK_S)
        except InferenceServerException as error:
            raise ServerError(f"{server.grpc_url} does not list its models: {error.message()}") from error
    return [ModelState(model.name, model.version, model.state or "UNAVAILABLE", model.reason) for model in index.models]


def _headers(server: RunningServer) -> dict[str, str]:
    return {f"triton-grpc-protocol-{KEY_HEADER}": server.key}
