"""python -m export, as a user types it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from export.__main__ import app, parse_precisions
from lnclip.errors import ConfigError


def call(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    root = Path(__file__).parents[2]
    program = (
        f"import sys; sys.path.insert(0, {str(root)!r}); import runpy; runpy.run_module('export', run_name='__main__')"
    )
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)


@pytest.mark.slow
def test_exports_and_publishes(random_run: Path, crops_index: Path, tmp_path: Path) -> None:
    exported = call("onnx", random_run, "--out", "exports/one", "--calibration", crops_index, cwd=tmp_path)
    assert exported.returncode == 0, exported.stderr
    assert "openvino fp32: artifact " in exported.stdout
    published = call("publish", "exports/one", "--repository", "repository", cwd=tmp_path)
    assert published.returncode == 0, published.stderr
    assert published.stdout == "1\n"
    assert "no server runs on this repository" in published.stderr


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("onnx", "runs/none", "--out", "out"), "runs/none/model.json cannot be read"),
        (("onnx", "runs/none", "--out", "out", "--precision", "fp64"), "'fp64' is none of fp32, bf16"),
        (("publish", "exports/none"), "exports/none holds no fp32 export: python -m export onnx RUN"),
    ],
)
def test_an_error_is_one_line_and_status_2(arguments: tuple[str, ...], complaint: str, tmp_path: Path) -> None:
    done = call(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert complaint in line
    assert list(tmp_path.iterdir()) == []


def test_precisions_are_a_list() -> None:
    assert parse_precisions("fp32, bf16") == ["fp32", "bf16"]
    with pytest.raises(ConfigError):
        parse_precisions("")


def test_every_command_explains_itself() -> None:
    commands = app.registered_commands + [
        command for group in app.registered_groups for command in group.typer_instance.registered_commands
    ]
    names = {"onnx", "engine", "refit", "publish", "rollback", "release", "mtcnn", "retinaface"}
    assert {command.callback.__name__ for command in commands} == names
    assert all(command.callback.__doc__ for command in commands)
