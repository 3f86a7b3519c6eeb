"""What is said of servers that cannot be used, before anything is scored."""

from __future__ import annotations

import logging

import grpc
import pytest

from client.calling import CallPolicy
from client.limits import Limit
from client.servers import Servers
from lnclip.contract import ENSEMBLE
from lnclip.errors import ServerError
from tests.client.peer import Peer, RefusalError, after, ensemble_answer, serve
from tests.client.test_servers import NOWHERE, good, many, play


def test_an_unreachable_server_is_one_error_that_says_what_to_do() -> None:
    with pytest.raises(ServerError, match=rf"no Triton answers at {NOWHERE}.*python -m server start"):
        play([NOWHERE], lambda servers: servers.check_ready(ENSEMBLE))


def test_when_no_server_can_be_used_the_error_names_each() -> None:
    with serve(Peer(lambda _: ensemble_answer(), ready=False)) as url, pytest.raises(ServerError) as caught:
        play([NOWHERE, url], lambda servers: servers.check_ready(ENSEMBLE))
    assert f"no Triton answers at {NOWHERE}" in str(caught.value)
    assert f"Triton at {url} runs without {ENSEMBLE}: python -m server status, or publish a model" in str(caught.value)


def test_goes_on_without_servers_that_are_away_or_lack_the_model(caplog: pytest.LogCaptureFixture) -> None:
    lacking, other = Peer(after([RefusalError(grpc.StatusCode.NOT_FOUND, "unknown model")] * 99), ready=False), good()

    async def scene(servers: Servers) -> None:
        with caplog.at_level(logging.WARNING, "client"):
            await servers.check_ready(ENSEMBLE)
        assert await many(servers, 50) == ["ok"] * 50

    with serve(lacking) as a, serve(other) as b:
        play([NOWHERE, a, b], scene)
    assert len(other.requests) == 50
    assert len(lacking.requests) <= 1
    assert f"no Triton answers at {NOWHERE}" in caplog.messages[0]
    assert f"Triton at {a} runs without {ENSEMBLE}" in caplog.messages[1]


def test_an_address_is_a_host_and_a_port() -> None:
    with pytest.raises(ServerError, match="give HOST:PORT alone"):
        Servers(["grpc://localhost:8001"], CallPolicy(), Limit(1))
