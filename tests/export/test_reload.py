"""Publishing under a real server: the new version answers, or the old one goes on."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from export.__main__ import app
from export.publishing import PublishOptions, publish
from export.rollback import rollback
from lnclip.artifact import Artifact
from lnclip.errors import WithdrawnError
from lnclip.publication import WITHDRAWN, find_artifact, versions
from lnclip.running import RunningServer
from lnclip.spec import PreprocessSpec
from server.asking import encode
from server.embedded import StartOptions, discard, start
from server.model_configs import load_config

pytestmark = pytest.mark.slow


@pytest.fixture
def options(tmp_path: Path) -> PublishOptions:
    return PublishOptions(run_dir=tmp_path / ".run")


@pytest.fixture
def own_server(published: Path, options: PublishOptions):
    yield start(StartOptions(repository=published, run_dir=options.run_dir))
    discard(options.run_dir)


def served_id(server: RunningServer, crops: np.ndarray) -> list[int]:
    return encode(server, crops[:1]).artifact_id[0].tolist()


def artifact_id(export: Path) -> list[int]:
    return list(Artifact.load(export / "model.fp32.json").identity.artifact_id)


def test_a_published_version_answers_at_once_and_a_rollback_brings_the_old_one_back(
    own_server: RunningServer, exported: Path, retrained: Path, options: PublishOptions, face_crops: np.ndarray
) -> None:
    assert served_id(own_server, face_crops) == artifact_id(exported)
    assert publish(retrained, own_server.repository, options=options) == 2
    assert served_id(own_server, face_crops) == artifact_id(retrained)
    assert rollback(own_server.repository, options) == 3
    assert served_id(own_server, face_crops) == artifact_id(exported)


def test_a_refused_version_leaves_the_old_one_answering(
    own_server: RunningServer, exported: Path, retrained: Path, options: PublishOptions, face_crops: np.ndarray
) -> None:
    """Alone the candidate is well; what it meets in the repository is not."""
    aligner_spec = own_server.repository / "face_aligner" / "1" / "spec.json"
    kept = shutil.copyfile(aligner_spec, options.run_dir / "spec.json")
    aligner_spec.write_text(PreprocessSpec(crop_scale=2.0).model_dump_json())
    with pytest.raises(WithdrawnError, match=r"refused version 2.*cuts crops for spec"):
        publish(retrained, own_server.repository, options=options)
    assert versions(own_server.repository / "face_encoder") == [1]
    assert served_id(own_server, face_crops) == artifact_id(exported)
    shutil.copyfile(kept, aligner_spec)
    assert publish(retrained, own_server.repository, options=options) == 2
    assert served_id(own_server, face_crops) == artifact_id(retrained)


def test_a_version_that_does_not_answer_is_taken_away_and_the_command_exits_1(
    own_server: RunningServer, exported: Path, retrained: Path, options: PublishOptions, face_crops, monkeypatch
) -> None:
    """The server loads it, and goes on answering with version 1, which its config pins."""
    encoder = own_server.repository / "face_encoder"
    config = encoder / "configs" / "cpu.pbtxt"
    pinned = load_config(config)
    pinned.version_policy.specific.versions.append(1)
    config.write_text(str(pinned))
    monkeypatch.setattr("export.publishing.PublishOptions", lambda **given: options)
    done = CliRunner().invoke(app, ["publish", str(retrained), "--repository", str(own_server.repository)])
    assert done.exit_code == 1
    assert "refused version 2, so it is withdrawn and version 1 serves again: it answers for other" in done.stderr
    assert versions(encoder) == [1]
    assert (encoder / WITHDRAWN / "model.onnx").is_file()
    withdrawn = Artifact.load(retrained / "model.fp32.json").identity.artifact_id
    assert find_artifact(encoder, withdrawn).identity.artifact_id == withdrawn  # answers may be on their way
    assert served_id(own_server, face_crops) == artifact_id(exported)


KILLED_BEFORE_THE_LOAD = """
import os, signal, sys
from pathlib import Path
import export.reloading as reloading
reloading.load_model = lambda *arguments: os.kill(os.getpid(), signal.SIGKILL)
from export.publishing import PublishOptions, publish
publish(Path(sys.argv[1]), Path(sys.argv[2]), options=PublishOptions(run_dir=Path(sys.argv[3])))
"""


def test_a_publish_killed_between_rename_and_load_leaves_the_server_answering(
    own_server: RunningServer, exported: Path, retrained: Path, options: PublishOptions, face_crops: np.ndarray
) -> None:
    repository = own_server.repository
    command = [sys.executable, "-c", KILLED_BEFORE_THE_LOAD, retrained, repository, options.run_dir]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert versions(repository / "face_encoder") == [1, 2]
    assert served_id(own_server, face_crops) == artifact_id(exported)
    assert publish(retrained, repository, options=options) == 3
    assert served_id(own_server, face_crops) == artifact_id(retrained)
