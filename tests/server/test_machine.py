"""Ports, shared memory, the log, the launch line, the Makefile: no server needed."""

import socket
import subprocess

import pytest

from lnclip.errors import ConfigError, SetupError
from server import launch, ports, server_log, shared_memory
from server.embedded import StartOptions, start
from server.launch import LaunchRequest, build_launch, link_stub, triton_folder
from server.ports import BoundPorts, Ports
from server.repository import init_repository, model_names
from tests.conftest import ROOT
from tests.server.conftest import write_model


def test_free_ports_differ_and_are_free():
    chosen = ports.choose(Ports(None, None, None))
    assert len(set(chosen)) == 3
    assert all(map(ports.is_free, chosen))


def test_given_ports_are_kept():
    given = ports.choose(Ports(None, None, None))
    assert ports.choose(Ports(*given)) == given


def test_a_taken_port_is_refused_by_its_option():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        number = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"port {number} is taken: give another --metrics-port"):
            ports.choose(Ports(None, None, number))


def test_one_port_for_two_things_is_refused():
    with pytest.raises(ConfigError, match="must differ"):
        ports.choose(Ports(9000, 9000, None))


def test_shared_memory_grows_with_frames_and_instances(tmp_path):
    init_repository(tmp_path)
    models = model_names(tmp_path)
    need, megapixels = shared_memory.needed_bytes(tmp_path, models, "cpu")
    assert megapixels == 50
    # Two decoders and two aligners with two frames of 150 MB each, and 16 MiB for each of the eight processes.
    assert need == 4 * 2 * 150_000_000 + 8 * 16 * 2**20
    config = tmp_path / "image_decoder" / "configs" / "cpu.pbtxt"
    config.write_text(config.read_text().replace('"50"', '"5"'))
    assert shared_memory.needed_bytes(tmp_path, models, "cpu") == (4 * 2 * 15_000_000 + 8 * 16 * 2**20, 5)


def test_too_little_shared_memory_names_need_free_and_remedies(tmp_path, monkeypatch):
    init_repository(tmp_path)
    monkeypatch.setattr(shared_memory, "free_bytes", lambda shm: 64 * 2**20)
    with pytest.raises(SetupError) as caught:
        shared_memory.check(tmp_path, model_names(tmp_path), "cpu")
    message = str(caught.value)
    for part in ("64 MiB free", "1272 MiB", "50 megapixels", "remount,size=3g", "--shm-size=3g", "max_megapixels"):
        assert part in message


def test_a_frame_limit_that_is_no_number_is_refused(tmp_path):
    init_repository(tmp_path)
    config = tmp_path / "image_decoder" / "configs" / "cpu.pbtxt"
    config.write_text(config.read_text().replace('"50"', '"many"'))
    with pytest.raises(ConfigError, match="max_megapixels of image_decoder is 'many'"):
        shared_memory.needed_bytes(tmp_path, model_names(tmp_path), "cpu")


def test_only_the_regions_of_one_run_folder_are_removed(tmp_path):
    for name in ("lnclip_a_1", "lnclip_a_2", "lnclip_b_1", "other"):
        (tmp_path / name).touch()
    shared_memory.remove_regions("lnclip_a_", tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lnclip_b_1", "other"]


LOG = """I1121 13:11:19.0 8165 model_lifecycle.cc:472] "loading: broken:1"
E1121 13:11:19.0 8165 server.cc:241] "CudaDriverHelper has not been initialized."
E1121 13:11:19.7 8165 model.cc:642] "failed to load 'broken' version 1: Internal: ValueError: no\\n\\nAt:\\n  model.py"
+-------+
| Model |
+-------+
error: creating server: Invalid argument - load failed for model 'broken'
"""


def test_the_log_is_reduced_to_the_reasons_of_failed_models(tmp_path):
    (tmp_path / "log").write_text(LOG)
    assert server_log.reasons(tmp_path / "log") == [
        "failed to load 'broken' version 1: Internal: ValueError: no",
        "At:",
        "  model.py",
    ]


def test_a_log_without_failed_models_gives_its_errors_else_its_end(tmp_path):
    log = tmp_path / "log"
    log.write_text("\n".join(line for line in LOG.splitlines() if "failed to load" not in line))
    assert server_log.reasons(log) == ["error: creating server: Invalid argument - load failed for model 'broken'"]
    log.write_text(LOG.splitlines()[0] + "\n\n")
    assert server_log.reasons(log) == LOG.splitlines()[:1]
    assert server_log.reasons(tmp_path / "missing") == []


def test_a_taken_port_is_read_from_the_log(tmp_path):
    (tmp_path / "log").write_text(
        "failed to start HTTP service: Unavailable - Socket '127.0.0.1:8000' already in use \n"
    )
    assert server_log.taken_port(tmp_path / "log") == 8000
    (tmp_path / "log").write_text(LOG)
    assert server_log.taken_port(tmp_path / "log") is None


@pytest.fixture
def request_(tmp_path) -> LaunchRequest:
    return LaunchRequest(tmp_path, ["a", "b"], "cpu", BoundPorts(1, 2, 3), tmp_path / ".run", "id", "sesame")


def test_the_server_is_started_for_this_machine_alone_and_with_locked_doors(request_):
    arguments = build_launch(request_).arguments
    for name in ("http", "grpc", "metrics"):
        assert f"--{name}-address=127.0.0.1" in arguments
    locked = "model-repository,model-config,shared-memory,trace,logging:lnclip-key=sesame"
    assert f"--http-restricted-api={locked}" in arguments
    assert f"--grpc-restricted-protocol={locked}" in arguments
    assert arguments[-2:] == ["--load-model=a", "--load-model=b"]
    assert "--model-config-name=cpu" in arguments


def test_stubs_get_the_serving_python_and_libpython_alone(request_, monkeypatch, tmp_path):
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    variables = build_launch(request_).environment
    assert variables["PATH"].startswith(str(ROOT / ".venv-triton" / "bin"))
    assert variables["VIRTUAL_ENV"] == str(ROOT / ".venv-triton")
    assert "PYTHONPATH" not in variables
    [library] = (tmp_path / ".run" / "lib").iterdir()
    assert variables["LD_LIBRARY_PATH"].split(":")[0] == str(library.parent)
    assert library.name.startswith("libpython3.")


def test_the_stub_is_linked_not_copied():
    triton = triton_folder()
    minor = int(triton.parts[-4].removeprefix("python3."))
    link = link_stub(triton, minor)
    assert link.is_symlink()
    assert link.resolve() == triton / "python_backend_stubs" / f"3.{minor}" / "triton_python_backend_stub"


def test_a_python_without_a_stub_is_refused():
    with pytest.raises(SetupError, match=r"no stub for Python 3\.99"):
        link_stub(triton_folder(), 99)


def test_a_missing_environment_names_make_setup(tmp_path):
    with pytest.raises(SetupError, match="run make setup"):
        triton_folder(tmp_path)


def test_a_missing_libpython_is_said_before_the_start(request_, monkeypatch):
    monkeypatch.setattr(launch, "find_libpython", lambda minor, environment: None)
    with pytest.raises(SetupError, match=r"stub needs libpython3\.1\d\.so\.1\.0, which is not here: apt-get install"):
        build_launch(request_)


def test_a_model_that_is_not_served_is_no_model(tmp_path):
    write_model(tmp_path, "one")
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "notes").mkdir()
    assert model_names(tmp_path) == ["one"]


def test_make_alone_explains_every_target():
    shown = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for target in ("setup", "lock", "demo", "test", "check", "train", "export", "serve", "stop", "score", "bench"):
        assert f"\n  {target} " in shown


def test_the_gpu_flavour_is_the_container_s(sleeper_repository, run_dir):
    with pytest.raises(ConfigError, match=r"--flavour cpu here\. .* NVIDIA's Triton image .* publish --flavour gpu"):
        start(StartOptions(sleeper_repository, flavour="gpu", run_dir=run_dir))
