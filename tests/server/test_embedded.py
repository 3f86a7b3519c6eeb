"""The life of a real tritonserver: start, work, stop, crash."""

import json
import os
import signal
import stat
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lnclip import running
from lnclip.errors import ConfigError, ServerError, SetupError
from server import embedded, ports, shared_memory
from server.embedded import StartOptions, discard, start, stop
from server.launch import shm_prefix
from server.processes import members
from server.status import inspect
from tests.conftest import ROOT
from tests.server.conftest import sleep, write_model

pytestmark = pytest.mark.slow

BROKEN = """
class TritonPythonModel:
    def initialize(self, args):
        raise ValueError("spec is 0123, the engine was built for 4567")
"""


def regions(run_dir) -> list:
    return list(shared_memory.SHM.glob(f"{shm_prefix(run_dir)}*"))


def nothing_is_left(server, run_dir) -> bool:
    gone = not server.is_alive and not members(server.pid, run_dir) and not regions(run_dir)
    return gone and not (run_dir / "server.json").exists() and running.find(run_dir) is None


def wait_for(condition, timeout_s=10.0) -> bool:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return False


def test_serves_until_it_is_stopped_and_leaves_nothing(sleeper_repository, run_dir):
    server = start(StartOptions(sleeper_repository, run_dir=run_dir))
    assert running.find(run_dir) == server
    assert sleep(server, 0.01) == pytest.approx(0.01)
    assert len(members(server.pid, run_dir)) == 3  # the server and a stub for each instance
    stop(run_dir)
    assert nothing_is_left(server, run_dir)


def test_a_stop_waits_for_work_in_flight(sleeper_repository, run_dir):
    server = start(StartOptions(sleeper_repository, run_dir=run_dir))
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(sleep, server, 2.0)
        time.sleep(0.5)
        stop(run_dir)
        assert answer.result(timeout=5) == pytest.approx(2.0)
    assert nothing_is_left(server, run_dir)


def test_a_discard_waits_for_nothing_leaves_nothing_and_the_next_one_serves(sleeper_repository, run_dir):
    server = start(StartOptions(sleeper_repository, run_dir=run_dir))
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(sleep, server, 20.0)
        time.sleep(0.5)
        begun = time.monotonic()
        discard(run_dir)
        assert answer.exception(timeout=5) is not None
    assert time.monotonic() - begun < 10
    assert nothing_is_left(server, run_dir)
    discard(run_dir)
    assert sleep(start(StartOptions(sleeper_repository, run_dir=run_dir)), 0) == 0


def test_a_discard_where_nothing_ever_ran_makes_nothing(run_dir):
    discard(run_dir)
    assert not run_dir.exists()


def test_a_second_start_names_the_first(shared_server, shared_run_dir, sleeper_repository):
    with pytest.raises(ServerError, match=f"already: pid {shared_server.pid}, gRPC {shared_server.grpc_url}"):
        start(StartOptions(sleeper_repository, run_dir=shared_run_dir))
    assert sleep(shared_server, 0) == 0


def test_of_two_starts_at_once_one_serves_and_the_other_names_it(sleeper_repository, run_dir):
    options = StartOptions(sleeper_repository, run_dir=run_dir)
    with ThreadPoolExecutor() as pool:
        futures = [pool.submit(start, options) for _ in range(2)]
        errors = [error for error in (future.exception() for future in futures) if error is not None]
        [server] = [future.result() for future in futures if future.exception() is None]
    assert [str(server.pid) in str(error) for error in errors] == [True]
    assert running.find(run_dir) == server


def test_a_model_that_cannot_load_is_reported_with_its_reason(tmp_path, run_dir):
    repository = write_model(write_model(tmp_path / "repository"), "broken", BROKEN)
    with pytest.raises(ServerError, match=r"'broken'.*spec is 0123, the engine was built for 4567") as caught:
        start(StartOptions(repository, run_dir=run_dir))
    assert str(run_dir / "tritonserver.log") in str(caught.value)
    assert running.find(run_dir) is None
    assert regions(run_dir) == []


def test_a_start_that_is_not_ready_in_time_leaves_nothing_running(tmp_path, run_dir, monkeypatch):
    slow = "import time\ntime.sleep(30)\n"
    repository = write_model(tmp_path / "repository", source=slow)
    spawned = []
    real = embedded._spawn
    monkeypatch.setattr(embedded, "_spawn", lambda *arguments: spawned.append(real(*arguments)) or spawned[0])
    with pytest.raises(ServerError, match=r"not ready after 1\.5 s"):
        start(StartOptions(repository, run_dir=run_dir, ready_timeout_s=1.5))
    assert nothing_is_left(spawned[0], run_dir)


@pytest.mark.parametrize("end", [stop, discard])
def test_a_killed_server_is_reported_and_cleaned_up(end, sleeper_repository, run_dir, caplog):
    server = start(StartOptions(sleeper_repository, run_dir=run_dir))
    os.kill(server.pid, signal.SIGKILL)
    assert wait_for(lambda: not server.is_alive)
    status = inspect(run_dir)
    assert not status.running
    assert f"pid {server.pid}) crashed or was killed" in status.problems[0]
    assert any("Metrics Service" in line for line in status.log)
    end(run_dir)
    assert "had stopped by itself" in caplog.text
    assert nothing_is_left(server, run_dir)


def test_a_start_after_a_crash_cleans_up_and_serves(sleeper_repository, run_dir):
    first = start(StartOptions(sleeper_repository, run_dir=run_dir))
    os.kill(first.pid, signal.SIGKILL)
    assert wait_for(lambda: not first.is_alive)
    second = start(StartOptions(sleeper_repository, run_dir=run_dir))
    assert sleep(second, 0) == 0
    assert not members(first.pid, run_dir)


def test_a_killed_stub_is_a_problem_although_triton_says_ready(sleeper_repository, run_dir):
    server = start(StartOptions(sleeper_repository, run_dir=run_dir))
    assert inspect(run_dir).is_well
    [stub] = [process for process in members(server.pid, run_dir) if "sleeper_0_1" in process.arguments]
    os.kill(stub.pid, signal.SIGKILL)
    assert wait_for(lambda: len(members(server.pid, run_dir)) == 2)
    status = inspect(run_dir)
    assert status.ready
    assert "killed stubs: sleeper_0_1" in status.problems[0]
    stop(run_dir)
    assert nothing_is_left(server, run_dir)


def test_a_start_that_was_killed_half_way_is_cleaned_up_by_the_next(tmp_path, sleeper_repository, run_dir):
    slow = write_model(tmp_path / "slow", source="import time\ntime.sleep(20)\n")
    command = [sys.executable, "-m", "server", "start", "--repository", str(slow), "--run-dir", str(run_dir)]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL) as starter:
        assert wait_for((run_dir / "starting" / "server.json").exists, 20)
        starter.kill()
    assert running.find(run_dir) is None
    orphan = running.find(run_dir / "starting")
    server = start(StartOptions(sleeper_repository, run_dir=run_dir))
    assert not orphan.is_alive
    assert sleep(server, 0) == 0


def test_the_record_is_for_its_owner_alone(shared_server, shared_run_dir):
    for name in ("server.json", "tritonserver.log"):
        assert stat.S_IMODE((shared_run_dir / name).stat().st_mode) == 0o600


def test_listens_on_loopback_only(shared_server):
    urls = (shared_server.http_url, shared_server.grpc_url, shared_server.metrics_url)
    ours = {int(url.rpartition(":")[2]) for url in urls}
    listening = {}
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            _, local, _, state, *_ = line.split()
            address, _, port = local.partition(":")
            if state == "0A" and int(port, 16) in ours:
                listening[int(port, 16)] = address
    assert set(listening) == ours
    assert set(listening.values()) <= {"0100007F", "0000000000000000FFFF00000100007F"}  # 127.0.0.1, ::ffff:127.0.0.1


def test_a_given_port_is_used_and_a_taken_one_refused(sleeper_repository, run_dir):
    chosen = ports.choose(ports.Ports(None, None, None))
    server = start(StartOptions(sleeper_repository, run_dir=run_dir, grpc_port=chosen.grpc))
    assert server.grpc_url == f"127.0.0.1:{chosen.grpc}"
    other = run_dir.with_name("other")
    with pytest.raises(ConfigError, match=f"port {chosen.grpc} is taken: give another --http-port"):
        start(StartOptions(sleeper_repository, run_dir=other, http_port=chosen.grpc))


def test_too_little_shared_memory_is_said_before_anything_starts(sleeper_repository, run_dir, monkeypatch):
    monkeypatch.setattr(shared_memory, "free_bytes", lambda shm=shared_memory.SHM: 2**20)
    monkeypatch.setattr(embedded, "_spawn", lambda *arguments: pytest.fail("it started"))
    with pytest.raises(SetupError, match="1 MiB free, the Python models may need 32 MiB"):
        start(StartOptions(sleeper_repository, run_dir=run_dir))


def test_the_command_returns_and_its_server_goes_on(sleeper_repository, run_dir):
    def command(*arguments: str) -> subprocess.CompletedProcess:
        line = [sys.executable, "-m", "server", *arguments, "--run-dir", str(run_dir)]
        return subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)

    started = command("start", "--repository", str(sleeper_repository))
    assert started.returncode == 0, started.stderr
    server = running.find(run_dir)
    assert started.stdout.startswith(f"ready: gRPC {server.grpc_url}")
    assert os.getsid(server.pid) == server.pid
    again = command("start", "--repository", str(sleeper_repository))
    assert (again.returncode, again.stdout) == (2, "")
    assert again.stderr.startswith(f"error: a server runs from {run_dir} already: pid {server.pid}")
    status = command("status", "--json")
    assert status.returncode == 0
    assert json.loads(status.stdout)["models"] == [{"name": "sleeper", "version": "1", "state": "READY", "reason": ""}]
    assert command("stop").returncode == 0
    assert nothing_is_left(server, run_dir)
    nobody = command("stop")
    assert (nobody.returncode, nobody.stderr) == (2, f"error: no server runs from {run_dir}\n")
    assert command("status").returncode == 1


def test_an_interrupted_start_leaves_nothing_running(sleeper_repository, run_dir, monkeypatch):
    spawned = []

    def interrupt(server, *_):
        spawned.append(server)
        assert wait_for(lambda: len(members(server.pid, run_dir)) == 3)
        raise KeyboardInterrupt

    monkeypatch.setattr(embedded, "_wait_until_ready", interrupt)
    with pytest.raises(KeyboardInterrupt):
        start(StartOptions(sleeper_repository, run_dir=run_dir))
    assert nothing_is_left(spawned[0], run_dir)


def test_a_stop_where_nothing_ever_ran_says_so_and_makes_nothing(run_dir):
    with pytest.raises(ServerError, match="no server runs from"):
        stop(run_dir)
    assert not run_dir.exists()
