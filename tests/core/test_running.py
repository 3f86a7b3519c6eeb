import os
import stat
import subprocess
import sys

import pytest

from lnclip.errors import ServerError
from lnclip.running import RunningServer, find, grpc_url, save, start_ticks


@pytest.fixture
def sleeper():
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    yield process
    process.kill()
    process.wait()


def server_of(pid: int) -> RunningServer:
    return RunningServer(
        pid=pid, start_ticks=start_ticks(pid), http_url="127.0.0.1:1", grpc_url="127.0.0.1:2",
        metrics_url="127.0.0.1:3", repository="build/repository", flavour="cpu", key="secret",
    )  # fmt: skip


def test_a_running_server_is_found_and_its_file_is_private(tmp_path, sleeper):
    save(server_of(sleeper.pid), tmp_path / ".run")
    assert find(tmp_path / ".run") == server_of(sleeper.pid)
    assert stat.S_IMODE((tmp_path / ".run" / "server.json").stat().st_mode) == 0o600
    assert grpc_url(None, tmp_path / ".run") == "127.0.0.1:2"


def test_a_dead_server_is_none_even_as_a_zombie(tmp_path, sleeper):
    save(server_of(sleeper.pid), tmp_path)
    sleeper.kill()
    os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)
    assert find(tmp_path) is None


def test_another_process_with_the_same_pid_is_not_the_server(tmp_path, sleeper):
    save(server_of(sleeper.pid).model_copy(update={"start_ticks": 1}), tmp_path)
    assert find(tmp_path) is None


def test_without_a_server_the_command_that_starts_one_is_named(tmp_path):
    with pytest.raises(ServerError, match="python -m server start"):
        grpc_url(None, tmp_path)
    assert grpc_url("host:8001", tmp_path) == "host:8001"


def test_a_crashed_server_is_told_from_none(tmp_path, sleeper):
    save(server_of(sleeper.pid).model_copy(update={"start_ticks": 1}), tmp_path)
    with pytest.raises(ServerError, match="python -m server status says why"):
        grpc_url(None, tmp_path)


def test_a_scheme_in_the_address_is_named(tmp_path):
    with pytest.raises(ServerError, match="without http://"):
        grpc_url("http://127.0.0.1:8001", tmp_path)


def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / "server.json").write_text("{")
    with pytest.raises(ServerError, match=r"server\.json"):
        find(tmp_path)
