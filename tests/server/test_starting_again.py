"""A start that could not work out is tried again: a port that was taken meanwhile, a server that aborts."""

import socket

import pytest

from server import embedded, ports
from server.embedded import StartOptions, start
from tests.server.conftest import sleep

pytestmark = pytest.mark.slow


def test_a_free_port_lost_to_another_process_is_tried_again(sleeper_repository, run_dir, monkeypatch):
    real, calls = ports.choose, []
    with socket.socket() as thief:
        thief.bind(("127.0.0.1", 0))
        thief.listen()

        def choose(wanted):
            calls.append(wanted)
            found = real(wanted)
            return found._replace(http=thief.getsockname()[1]) if len(calls) == 1 else found

        monkeypatch.setattr(embedded, "choose", choose)
        server = start(StartOptions(sleeper_repository, run_dir=run_dir))
    assert len(calls) == 2
    assert sleep(server, 0) == 0


def test_a_server_that_aborts_as_it_starts_is_started_again(sleeper_repository, run_dir, monkeypatch, caplog):
    real, calls = embedded.build_launch, []

    def build(request):
        calls.append(request)
        launch = real(request)
        return launch._replace(arguments=["/bin/sh", "-c", "kill -ABRT $$"]) if len(calls) == 1 else launch

    monkeypatch.setattr(embedded, "build_launch", build)
    server = start(StartOptions(sleeper_repository, run_dir=run_dir))
    assert len(calls) == 2
    assert "aborted while it started" in caplog.text
    assert sleep(server, 0) == 0
