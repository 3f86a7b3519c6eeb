"""``client score --ray``: the same rows from a cluster, whoever is killed on the way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from client import read_rows
from client.job import ScoreRun, score_paths
from client.ray_job import score_on_ray
from lnclip.errors import LnclipError
from lnclip.running import RunningServer
from tests.client.peer import serve
from tests.client.runs import by_input, running, scores, write_files
from tests.conftest import jpeg

CLUSTER = """
import ray, sys
context = ray.init(
    address="local", num_cpus=2, include_dashboard=False, object_store_memory=100 << 20, log_to_driver=False
)
print(context.address_info["gcs_address"], flush=True)
sys.stdin.read()
"""
ENVIRONMENT = {
    "RAY_AUTH_MODE": "disabled",  # or it would write a token to the home folder
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # on loopback
    "RAY_USAGE_STATS_ENABLED": "0",
}


PATIENCE_S = 150.0
"""A busy machine may take a minute to bring Ray up."""


def until(is_so: Callable[[], bool]) -> None:
    end_s = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < end_s
        time.sleep(0.02)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "rows.parquet"


def reference(out: Path, url: str, *paths: Path) -> Path:
    score_paths(ScoreRun(paths=[str(path) for path in paths], out=out, urls=[url]))
    return out


@pytest.mark.parametrize(
    ("address", "problem"),
    [("ray://127.0.0.1:10001", "start this on a node of the cluster"), ("127.0.0.1:9", "Connection refused")],
)
def test_an_address_that_is_none_is_refused_at_once(out: Path, address: str, problem: str) -> None:
    with pytest.raises(LnclipError, match=problem):
        score_on_ray(ScoreRun(paths=[str(out.parent)], out=out, urls=["127.0.0.1:9"]), address, 2)
    assert not out.exists()


@pytest.fixture(scope="module")
def environment() -> dict[str, str]:
    return {**os.environ, **ENVIRONMENT}


@pytest.fixture(scope="module")
def cluster(environment: dict[str, str]) -> Iterator[tuple[str, int]]:
    """Address of a Ray on loopback with room for two workers, and the process that it runs below."""
    command = [sys.executable, "-c", CLUSTER]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL, text=True, **pipes) as process:
        assert process.stdout
        yield process.stdout.readline().strip(), process.pid
        process.communicate(timeout=30)  # the end of its stdin is its end


def workers_below(ancestor: int) -> list[int]:
    """Processes of the pool."""
    parents, names = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            names[int(folder.name)] = (folder / "cmdline").read_bytes()
        except (OSError, IndexError):  # it ended meanwhile
            continue

    def is_below(process: int) -> bool:
        return process == ancestor or (process in parents and is_below(parents[process]))

    return [process for process, name in names.items() if name.startswith(b"ray::MapWorker") and is_below(process)]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory, astronaut: np.ndarray) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for number in range(24):
        (folder / f"{number}.jpg").write_bytes(jpeg(astronaut[:240, 90 + number : 330 + number]))
    (folder / "text.jpg").write_text("no picture")
    return folder


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory, triton: RunningServer, photos: Path) -> Path:
    return reference(tmp_path_factory.mktemp("expected") / "rows.jsonl", triton.grpc_url, photos)


@pytest.mark.slow
def test_two_workers_give_the_same_rows_though_one_is_killed(
    cluster: tuple[str, int],
    environment: dict[str, str],
    triton: RunningServer,
    photos: Path,
    expected: Path,
    tmp_path: Path,
) -> None:
    address, process = cluster
    out = tmp_path / "rows.parquet"
    flags = ("--ray", address, "--url", triton.grpc_url, "--concurrency", "1")
    with running(photos, "--out", out, *flags, env=environment, stdout=subprocess.PIPE) as run:
        until(lambda: len(list(out.glob("part-*"))) > 0)
        pool = workers_below(process)
        assert len(pool) == 2
        os.kill(pool[0], signal.SIGKILL)
        printed, errors = run.communicate(timeout=PATIENCE_S)
    assert (run.returncode, printed) == (1, ""), errors
    assert "scored: 25 files" in errors
    assert "1 error (1 not_an_image)" in errors
    assert by_input(out) == by_input(expected)


@pytest.mark.slow
def test_a_killed_driver_s_run_is_resumed(
    cluster: tuple[str, int],
    environment: dict[str, str],
    triton: RunningServer,
    photos: Path,
    expected: Path,
    tmp_path: Path,
) -> None:
    out = tmp_path / "rows.parquet"
    flags = ("--ray", cluster[0], "--url", triton.grpc_url, "--concurrency", "1")
    with running(photos, "--out", out, *flags, env=environment) as run:
        until(lambda: len(list(out.glob("part-*"))) >= 2)
        run.kill()
        assert run.wait() == -signal.SIGKILL
    whole = {path: path.stat().st_mtime_ns for path in out.glob("part-*")}
    assert 0 < len(list(read_rows(out))) < 25
    with running(photos, "--out", out, *flags, "--resume", env=environment) as run:
        errors = run.communicate(timeout=PATIENCE_S)[1]
    assert run.returncode == 1, errors
    assert "kept from before" in errors
    assert whole.items() <= {path: path.stat().st_mtime_ns for path in out.glob("part-*")}.items()
    assert by_input(out) == by_input(expected)


@pytest.mark.slow
def test_an_interrupt_ends_a_local_ray_and_keeps_what_is_whole(environment: dict[str, str], tmp_path: Path) -> None:
    files, out = write_files(tmp_path / "media", 24), tmp_path / "rows.parquet"
    flags = ("--ray", "local", "--ray-workers", "2", "--concurrency", "1")
    with serve(scores(0.3)) as url, running(files, "--out", out, "--url", url, *flags, env=environment) as run:
        until(lambda: len(list(out.glob("part-*"))) > 0)
        pool = workers_below(run.pid)
        run.send_signal(signal.SIGINT)
        errors = run.communicate(timeout=PATIENCE_S)[1]
        until(lambda: not any(Path(f"/proc/{process}").exists() for process in pool))
    assert run.returncode == 128 + signal.SIGINT
    assert "interrupted, the rest was not scored (--resume goes on)" in errors
    assert "Traceback" not in errors
    assert len(pool) == 2
    assert 0 < len(by_input(out)) < 24
    assert {path.name.partition("-")[0] for path in out.iterdir()} == {"part", "_settings.json"}


@pytest.mark.slow
def test_a_worker_without_a_server_ends_the_run_and_says_where(
    cluster: tuple[str, int], environment: dict[str, str], tmp_path: Path
) -> None:
    files, out = write_files(tmp_path / "media", 2), tmp_path / "rows.parquet"
    with running(files, "--out", out, "--ray", cluster[0], "--url", "127.0.0.1:9", env=environment) as run:
        errors = run.communicate(timeout=PATIENCE_S)[1]
    assert run.returncode == 2
    assert "error: worker on " in errors
    assert "no Triton answers at 127.0.0.1:9" in errors
    assert "Traceback" not in errors
    assert not out.exists()
