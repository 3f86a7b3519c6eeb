"""Set-up says exactly what a machine lacks."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from server import environment, interpreters
from server.interpreters import Interpreter, MissingError
from tests.conftest import ROOT

SCRIPT = ROOT / "server" / "environment.py"


def fake_python(path: Path, minor: int, library_folder: Path, *, makes_environments: bool = True) -> Path:
    """A program that answers the question set-up asks a Python."""
    answer = json.dumps(
        {
            "version": [3, minor, 1],
            "path": str(path),
            "library_folder": str(library_folder),
            "makes_environments": makes_environments,
        }
    )
    path.write_text(f"#!/bin/sh\necho '{answer}'\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def only(tmp_path, monkeypatch):
    """A machine whose PATH and library folders are empty but for what the test puts there."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(interpreters, "LIBRARY_FOLDERS", ())
    monkeypatch.setattr(interpreters.shutil, "which", lambda name: None)
    ldconfig = subprocess.CompletedProcess([], 0, stdout="")
    real = subprocess.run
    monkeypatch.setattr(
        interpreters.subprocess,
        "run",
        lambda arguments, **options: ldconfig if "ldconfig" in arguments[0] else real(arguments, **options),
    )

    def running_on(minor: int, **options: bool) -> Path:
        python = fake_python(tmp_path / "python3", minor, tmp_path, **options)
        monkeypatch.setattr(interpreters.sys, "executable", str(python))
        return python

    return running_on


def library(folder: Path, minor: int) -> Path:
    path = folder / f"libpython3.{minor}.so.1.0"
    path.touch()
    return path


def choose(tmp_path, *, has_uv: bool = True) -> Interpreter:
    return interpreters.choose_python(tmp_path / "no-environment", has_uv=has_uv)


@pytest.mark.parametrize("minor", [10, 13])
def test_another_python_is_refused_by_its_version(only, tmp_path, minor):
    only(minor)
    with pytest.raises(
        MissingError, match=rf"\(Python 3\.{minor}\.1\): Python 3.11 or 3.12 is needed \(apt-get install"
    ):
        choose(tmp_path)


def test_a_python_of_the_right_version_on_path_is_taken_instead(only, tmp_path):
    only(10)
    better = fake_python(tmp_path / "python3.12", 12, tmp_path)
    library(tmp_path, 12)
    assert choose(tmp_path).path == str(better)


def test_a_missing_libpython_is_named_with_its_package(only, tmp_path):
    only(11)
    with pytest.raises(MissingError, match=r"needs libpython3\.11\.so\.1\.0: apt-get install libpython3\.11"):
        choose(tmp_path)
    library(tmp_path, 11)
    assert choose(tmp_path).version == (3, 11, 1)


def test_a_python_without_venv_is_a_problem_only_without_uv(only, tmp_path):
    only(11, makes_environments=False)
    library(tmp_path, 11)
    assert choose(tmp_path, has_uv=True).version == (3, 11, 1)
    with pytest.raises(MissingError, match=r"no venv or ensurepip module.*apt-get install python3\.11-venv"):
        choose(tmp_path, has_uv=False)


def test_everything_that_each_python_lacks_is_listed(only, tmp_path):
    only(11, makes_environments=False)
    fake_python(tmp_path / "python3.12", 12, tmp_path)
    with pytest.raises(MissingError) as caught:
        choose(tmp_path, has_uv=False)
    assert [word in str(caught.value) for word in ("python3.11-venv", "libpython3.11", "libpython3.12")] == [True] * 3


@pytest.mark.parametrize(
    ("system", "machine", "libc", "message"),
    [
        ("darwin", "arm64", ("", ""), "this is darwin on arm64"),
        ("linux", "aarch64", ("glibc", "2.39"), "this is linux on aarch64"),
        ("linux", "x86_64", ("glibc", "2.31"), r"glibc 2\.35 or newer is needed.*glibc 2\.31"),
        ("linux", "x86_64", ("", ""), "this is another libc"),
    ],
)
def test_a_machine_without_wheels_is_refused(monkeypatch, system, machine, libc, message):
    monkeypatch.setattr(interpreters.sys, "platform", system)
    monkeypatch.setattr(interpreters.platform, "machine", lambda: machine)
    monkeypatch.setattr(interpreters.platform, "libc_ver", lambda: libc)
    with pytest.raises(MissingError, match=message):
        interpreters.check_machine()


def test_finds_libpython_of_the_running_python():
    found = interpreters.find_libpython(sys.version_info.minor, environment.SERVING_ENV)
    assert found is not None
    assert found.name == f"libpython3.{sys.version_info.minor}.so.1.0"


def test_too_little_disk_is_said_before_the_download(tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(environment.shutil, "disk_usage", lambda path: usage._replace(free=10**9))
    monkeypatch.setattr(environment, "describe", lambda path: None)
    monkeypatch.setattr(environment, "run", lambda arguments: pytest.fail("it ran something"))
    python = Interpreter("/usr/bin/python3.11", (3, 11, 1), "", makes_environments=True)
    with pytest.raises(MissingError, match=r"\.venv needs about 9 GB of disk, 1\.0 GB are free"):
        environment.install(environment.PROJECT_ENV, python, "uv")


def test_a_failed_installation_names_the_command():
    with pytest.raises(MissingError, match=r"failed with status 3 .*: sh -c exit 3"):
        environment.run(["sh", "-c", "exit 3"])


def test_an_environment_is_current_until_its_pins_change(tmp_path, monkeypatch):
    env, pinned = tmp_path / "env", tmp_path / "requirements.txt"
    (env / "bin").mkdir(parents=True)
    python = fake_python(env / "bin" / "python", 11, tmp_path)
    pinned.write_text("numpy==1.26.4\n")
    monkeypatch.setitem(environment.PINNED, env, pinned)
    assert not environment.is_current(env)
    described = interpreters.describe(str(python))
    (env / environment.STAMP).write_text(environment.fingerprint(pinned, described))
    assert environment.is_current(env)
    pinned.write_text("numpy==2.0.0\n")
    assert not environment.is_current(env)


def test_runs_by_path_and_exits_2_with_the_reason(tmp_path):
    """In a copy, so that it cannot touch the environments that are there."""
    shutil.copytree(ROOT / "server", tmp_path / "server", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "requirements.txt", tmp_path)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    uv = tmp_path / "uv"
    uv.write_text("#!/bin/sh\necho no network >&2\nexit 1\n")
    uv.chmod(0o755)
    path = os.pathsep.join([str(tmp_path), os.defpath])
    line = [sys.executable, str(tmp_path / "server" / "environment.py")]
    result = subprocess.run(line, env={"PATH": path}, capture_output=True, text=True, check=False, cwd="/")
    assert result.returncode == 2
    assert "setup: " in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


def test_lock_drops_what_an_override_excluded():
    from server.lock import without_excluded

    text = "albumentations==1.0 ; sys_platform == 'never'\nnumpy==2.4\ncolorama==0.4 ; sys_platform == 'win32'\n"
    assert without_excluded(text) == "numpy==2.4\ncolorama==0.4 ; sys_platform == 'win32'\n"
    for pinned in environment.PINNED.values():
        lines = pinned.read_text().splitlines()
        assert without_excluded(pinned.read_text()).splitlines() == lines
        assert all("==" in line and "://" not in line for line in lines)
