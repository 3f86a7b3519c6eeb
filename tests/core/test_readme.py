"""README: short, and every command in it exists."""

import re
import subprocess
import sys

import pytest

from tests.conftest import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
FENCED = "\n".join(re.findall(r"```sh\n(.*?)```", README, re.DOTALL))
COMMANDS = sorted(set(re.findall(r"python -m (\w+) ([a-z-]+)", FENCED)))


def test_the_first_command_and_the_first_scores_come_early():
    lines = README.splitlines()
    assert next(number for number, line in enumerate(lines, 1) if line.startswith("make ")) <= 15
    assert next(number for number, line in enumerate(lines, 1) if "p_fake" in line) <= 25
    assert len(lines) < 150


def test_the_fence_has_commands_of_every_package():
    assert {package for package, _ in COMMANDS} == {"training", "export", "server", "client"}


@pytest.mark.parametrize(("package", "command"), COMMANDS)
def test_a_command_of_the_readme_exists(package, command):
    done = subprocess.run(
        [sys.executable, "-m", package, command, "--help"], cwd=ROOT, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()


def test_every_make_target_of_the_readme_exists():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in set(re.findall(r"^make ([a-z]+)", FENCED, re.MULTILINE)):
        assert f"\n{target}:" in makefile
