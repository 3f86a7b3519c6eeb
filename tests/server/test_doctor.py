"""The doctor names what is wrong, each with its remedy."""

import json
import shutil
import subprocess
import sys
import tomllib

import pytest

from server import doctor, environment, image, interpreters, ports, shared_memory
from server.probe import probe
from server.repository import init_repository
from tests.conftest import ROOT


def test_a_machine_without_environments_is_told_to_make_them(tmp_path, monkeypatch):
    gone = tmp_path / ".venv-triton"
    monkeypatch.setattr(environment, "SERVING_ENV", gone)
    for finding in (doctor._environment(gone), doctor._libpython(), *doctor._serving_imports()):
        assert not finding.ok
        assert "make setup" in finding.text


def test_numpy_2_in_the_serving_environment_is_a_problem(tmp_path, monkeypatch):
    answer = {"numpy": "2.1.0", "onnxruntime": "1", "openvino": "2", "lnclip": "", "capabilities": ["FP32", "BF16"]}
    (tmp_path / "bin").mkdir()
    python = tmp_path / "bin" / "python"
    python.write_text(f"#!/bin/sh\necho '{json.dumps(answer)}'\n")
    python.chmod(0o755)
    monkeypatch.setattr(environment, "SERVING_ENV", tmp_path)
    numpy, openvino, _ = doctor._serving_imports()
    assert not numpy.ok
    assert "corrupts BYTES with numpy 2" in numpy.text
    assert openvino.text == "2; this processor: FP32, BF16"


def test_a_missing_libpython_is_a_problem_with_its_package(monkeypatch):
    monkeypatch.setattr(interpreters, "find_libpython", lambda minor, env: None)
    finding = doctor._libpython()
    assert not finding.ok
    assert "apt-get install libpython3.1" in finding.text


def test_another_tensorrt_than_the_image_s_is_a_problem(tmp_path, monkeypatch):
    monkeypatch.setattr(environment, "PROJECT_ENV", tmp_path)
    assert doctor._tensorrt() == ("tensorrt", True, "not installed; only plans for GPUs need it (11.1.0.106)")
    for version, ok in (("11.1.0.106", True), ("11.3.0.1", False)):
        shutil.rmtree(tmp_path / "lib", ignore_errors=True)
        metadata = tmp_path / "lib" / "python3.11" / "site-packages" / f"tensorrt_cu13-{version}.dist-info" / "METADATA"
        metadata.parent.mkdir(parents=True)
        metadata.write_text(f"Metadata-Version: 2.1\nName: tensorrt-cu13\nVersion: {version}\n")
        finding = doctor._tensorrt()
        assert finding.ok == ok
        assert version in finding.text
        assert "tritonserver:26.07-py3" in finding.text


def test_the_extra_is_the_image_s_tensorrt():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["optional-dependencies"]["tensorrt"] == [f"{image.TENSORRT_PACKAGE}=={image.TENSORRT}"]


def test_a_repository_that_is_not_made_yet_is_no_problem_a_half_made_one_is(tmp_path):
    assert doctor._repository(tmp_path).ok
    init_repository(tmp_path)
    finding = doctor._repository(tmp_path)
    assert not finding.ok
    assert "python -m export publish" in finding.text


def test_too_little_shared_memory_is_a_problem(sleeper_repository, monkeypatch):
    assert doctor._shared_memory(sleeper_repository).ok
    monkeypatch.setattr(shared_memory, "free_bytes", lambda shm=shared_memory.SHM: 2**20)
    finding = doctor._shared_memory(sleeper_repository)
    assert not finding.ok
    assert "--shm-size" in finding.text


def test_no_free_port_is_a_problem(monkeypatch):
    def refuse(wanted):
        raise OSError(98, "Address already in use")

    monkeypatch.setattr(ports, "choose", refuse)
    assert not doctor._ports().ok


def test_a_damaged_record_is_a_problem(tmp_path):
    (tmp_path / "server.json").write_text("{")
    finding = doctor._server(tmp_path)
    assert not finding.ok
    assert "Remove it if no server runs" in finding.text


@pytest.mark.slow
def test_the_command_prints_json_and_exits_by_what_it_found(tmp_path):
    line = [sys.executable, "-m", "server", "doctor", "--json", "--run-dir", str(tmp_path)]
    result = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    findings = {finding["subject"]: finding for finding in json.loads(result.stdout)}
    assert findings["tritonserver"]["ok"]
    assert findings["serving numpy"]["text"].startswith("1.")
    assert result.returncode == (0 if all(finding["ok"] for finding in findings.values()) else 1)


@pytest.mark.slow
def test_a_running_server_is_found_well(shared_server, shared_run_dir):
    finding = doctor._server(shared_run_dir)
    assert finding.ok
    assert f"pid {shared_server.pid} is ready" in finding.text
    assert probe(shared_server) is None  # it has no ensemble to ask


@pytest.mark.slow
def test_the_probe_goes_through_every_model(triton):
    assert probe(triton) > 0
