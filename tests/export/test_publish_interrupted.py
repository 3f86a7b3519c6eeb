"""A publish that is cut off, or meets another: what was served is still there, whole."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from export.publishing import STAGING, publish
from lnclip.errors import PublishError
from lnclip.publication import versions
from server.run_folder import recorded

KILLED = """
import os, signal, sys
from pathlib import Path
import export.{module} as module
module.{function} = lambda *arguments: os.kill(os.getpid(), signal.SIGKILL)
from export.publishing import publish
publish(Path(sys.argv[1]), Path(sys.argv[2]))
"""


@pytest.mark.slow
@pytest.mark.parametrize(("module", "function"), [("publishing", "_flush"), ("checking", "check_served")])
def test_a_publish_killed_before_the_rename_leaves_no_version(
    exported: Path, target: Path, module: str, function: str
) -> None:
    program = KILLED.format(module=module, function=function)
    killed = subprocess.run([sys.executable, "-c", program, exported, target], check=False)
    assert killed.returncode == -signal.SIGKILL
    encoder = target / "face_encoder"
    assert (encoder / STAGING / "model.onnx").is_file()
    assert versions(encoder) == []
    left = recorded(encoder / ".checking" / "run")
    assert (left is not None and left.is_alive) == (module == "checking")
    assert publish(exported, target) == 1
    assert left is None or not left.is_alive
    assert {path.name for path in encoder.iterdir()} == {"1", "config.pbtxt", "configs"}


FULL_DISK = """
mount -t tmpfs -o size=16m tmpfs "$2" && cp -r "$3"/. "$2" && "$0" -m export publish "$1" --repository "$2"
status=$?
ls -A "$2/face_encoder"
exit $status
"""


@pytest.mark.slow
def test_a_full_disk_leaves_what_was_there(exported: Path, repository: Path, tmp_path: Path) -> None:
    """9.5 MB of weights are there; as much again does not fit into 16."""
    if subprocess.run(["unshare", "-rm", "true"], check=False, capture_output=True).returncode:
        pytest.skip("this machine lets nobody mount a tmpfs of his own")
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["unshare", "-rm", "sh", "-c", FULL_DISK, sys.executable, exported, disk, repository]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "nothing is published: [Errno 28] No space left on device" in done.stderr
    assert set(done.stdout.split()) == {"1", "config.pbtxt", "configs"}


def test_two_publishes_at_once_are_refused(exported: Path, target: Path) -> None:
    folder = target / "face_encoder"
    folder.mkdir(parents=True)
    descriptor = os.open(folder, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        with pytest.raises(PublishError, match="another publish"):
            publish(exported, target)
    finally:
        os.close(descriptor)
