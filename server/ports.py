"""Ports on the loopback interface: the ones asked for, or free ones."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from typing import NamedTuple

from lnclip.errors import ConfigError

HOST = "127.0.0.1"
"""The embedded server is for this machine alone: it predates a year of security fixes."""


class Ports(NamedTuple):
    """What one server listens on; None stands for "any free one"."""

    http: int | None
    grpc: int | None
    metrics: int | None


class BoundPorts(NamedTuple):
    """Three different ports that nobody listened on a moment ago."""

    http: int
    grpc: int
    metrics: int


def is_free(port: int) -> bool:
    """Whether a server could listen on the port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def choose(wanted: Ports) -> BoundPorts:
    """The given ports, and free ones for the rest.

    Another process may take one before the server does: the caller tries again then.

    Raises:
        ConfigError: a given port is taken, or given twice.
    """
    given = [port for port in wanted if port is not None]
    if len(set(given)) != len(given):
        raise ConfigError(f"the HTTP, gRPC and metrics ports must differ, not {', '.join(map(str, given))}")
    for name, port in wanted._asdict().items():
        if port is not None and not is_free(port):
            raise ConfigError(f"port {port} is taken: give another --{name}-port, or none for a free one")
    with ExitStack() as held:  # held together, so that the three differ
        chosen = []
        for port in wanted:
            probe = held.enter_context(socket.socket())
            if port is None:
                probe.bind((HOST, 0))
            chosen.append(port or probe.getsockname()[1])
    return BoundPorts(*chosen)
