"""One command from a finished run to a version, with the time of each step."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from export.__main__ import app
from lnclip.artifact import Artifact


@pytest.mark.slow
def test_a_run_is_exported_and_published_and_the_steps_are_timed(
    random_run: Path, target: Path, tmp_path: Path
) -> None:
    command = ["release", str(random_run), "--out", str(tmp_path / "out"), "--repository", str(target)]
    done = CliRunner().invoke(app, [*command, "--precision", "fp32"])
    assert done.exit_code == 0, done.output
    steps = [line.split() for line in done.stdout.splitlines()]
    assert [step[0] for step in steps] == ["export", "publish", "total"]
    seconds = [float(step[1]) for step in steps]
    assert seconds[2] == pytest.approx(sum(seconds[:2]), abs=0.11)
    assert done.stdout.endswith("s, version 1\n")
    served = Artifact.load(target / "face_encoder" / "1" / "model.json")
    run = Artifact.load(random_run / "model.json")
    assert served.identity.weights_sha256 == run.identity.weights_sha256
    assert (tmp_path / "out" / "parity.json").is_file()
