"""A real server that is killed and started again while files are being scored."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from client import AsyncScorer, Row, Scorer
from lnclip.running import RunningServer
from server.embedded import StartOptions, discard, start
from tests.client.peer import Peer, ensemble_answer, serve
from tests.conftest import jpeg

FILES = 200


@pytest.fixture
def files(tmp_path: Path, astronaut: np.ndarray) -> Path:
    """Half of them show a face."""
    folder = tmp_path / "files"
    folder.mkdir()
    face, rocket = astronaut[40:240, 120:320], astronaut[280:480, 300:500]
    for number in range(FILES):
        content = jpeg((face, rocket)[number % 2], comment=b"%d" % number)
        (folder / f"{number:03}.jpg").write_bytes(content)
    return folder


@pytest.fixture
def run_dir(tmp_path: Path):
    yield tmp_path / ".run"
    discard(tmp_path / ".run")


def port(url: str) -> int:
    return int(url.rpartition(":")[2])


def restart(killed: RunningServer, options: StartOptions) -> None:
    """Blocking."""
    while killed.is_alive:
        time.sleep(0.05)
    start(options)


async def score_through_an_outage(files: Path, killed: RunningServer, again: StartOptions) -> list[Row]:
    rows: list[Row] = []
    async with AsyncScorer(killed.grpc_url) as scorer:
        async for row in scorer.score_many([files]):
            rows.append(row)
            if len(rows) == FILES // 5:
                os.kill(killed.pid, signal.SIGKILL)
                restarting = asyncio.create_task(asyncio.to_thread(restart, killed, again))
        await restarting
    return rows


@pytest.mark.slow
def test_every_file_is_scored_although_the_server_is_killed_on_the_way(
    run_dir: Path, repository: Path, files: Path
) -> None:
    server = start(StartOptions(repository=repository, run_dir=run_dir))
    http, grpc, metrics = (port(url) for url in (server.http_url, server.grpc_url, server.metrics_url))
    again = StartOptions(repository=repository, run_dir=run_dir, http_port=http, grpc_port=grpc, metrics_port=metrics)
    rows = asyncio.run(score_through_an_outage(files, server, again))
    assert sorted(Path(row.path).name for row in rows) == sorted(path.name for path in files.iterdir())
    assert {Path(row.path).name: row.error for row in rows if row.error} == {}
    assert {row.status for row in rows} == {"ok", "no_face"}
    assert max(row.elapsed_ms for row in rows) > 1000  # some were sent to the one, and answered by the other


def test_the_server_that_runs_from_here_is_found_where_it_comes_back(monkeypatch, tmp_path: Path) -> None:
    """Free ports are others after a restart; who named no address need not care."""
    (tmp_path / "a.jpg").write_bytes(b"picture")
    with serve(Peer(lambda _: ensemble_answer())) as first:
        monkeypatch.setattr("client.servers.grpc_url", lambda given: first)
        scorer = Scorer()
        assert scorer.score(tmp_path / "a.jpg").status == "ok"
    second = Peer(lambda _: ensemble_answer())
    with serve(second) as url:
        monkeypatch.setattr("client.servers.grpc_url", lambda given: url)
        assert scorer.score(tmp_path / "a.jpg").status == "ok"
        scorer.close()
    assert len(second.requests) == 1
