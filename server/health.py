"""Questions to a server that need no client library."""

from __future__ import annotations

import http.client
import json
import socket
from typing import NamedTuple

ASK_S = 5.0
"""A server that is alive answers these at once, even under load."""


class Answer(NamedTuple):
    """What came back."""

    status: int
    body: bytes


def ask(url: str, path: str, timeout_s: float = ASK_S) -> Answer | None:
    """GET from ``host:port``; None when nobody answers. Proxies of the environment are not used."""
    connection = http.client.HTTPConnection(url, timeout=timeout_s)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return Answer(response.status, response.read())
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def is_ready(http_url: str, timeout_s: float = ASK_S) -> bool:
    """Whether the server says that it and all its models are."""
    answer = ask(http_url, "/v2/health/ready", timeout_s)
    return answer is not None and answer.status == 200


def server_id(http_url: str) -> str | None:
    """The name the server at an address was started with."""
    answer = ask(http_url, "/v2")
    if answer is None or answer.status != 200:
        return None
    try:
        return str(json.loads(answer.body)["name"])
    except (ValueError, KeyError, TypeError):  # not Triton
        return None


def is_listening(url: str) -> bool:
    """Whether somebody takes connections at ``host:port``."""
    host, _, port = url.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=ASK_S).close()
    except OSError:
        return False
    return True
