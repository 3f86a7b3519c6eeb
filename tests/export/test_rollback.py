"""Back to the weights before, without a server; ``test_reload`` has one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from export.publishing import publish
from export.rollback import rollback
from lnclip.artifact import Artifact
from lnclip.errors import PublishError
from lnclip.publication import versions


def identity(version: Path) -> str:
    return Artifact.load(version / "model.json").identity.artifact_id.hex


@pytest.mark.slow
def test_a_rollback_is_a_new_version_and_a_second_one_goes_forth_again(published: Path, retrained: Path) -> None:
    encoder = published / "face_encoder"
    publish(retrained, published)
    assert [rollback(published), rollback(published)] == [3, 4]
    assert versions(encoder) == [2, 3, 4]
    old, new = identity(encoder / "3"), identity(encoder / "4")
    assert old != new == identity(encoder / "2")
    assert {path.name for path in (encoder / "3").iterdir()} == {path.name for path in (encoder / "4").iterdir()}


@pytest.mark.slow
def test_a_version_that_was_damaged_meanwhile_is_not_brought_back(published: Path) -> None:
    encoder = published / "face_encoder"
    shutil.copytree(encoder / "1", encoder / "2")
    graph = encoder / "1" / "model.onnx"
    graph.write_bytes(graph.read_bytes()[:-1] + b"\x00")
    with pytest.raises(PublishError, match="does not prove"):
        rollback(published)
    (encoder / "1" / "parity.json").unlink()
    with pytest.raises(PublishError, match=r"has no parity\.json to be checked by: publish its export again"):
        rollback(published)
    assert versions(encoder) == [1, 2]


def test_without_a_version_before_there_is_nothing_to_go_back_to(tmp_path: Path, exported: Path) -> None:
    with pytest.raises(PublishError, match="has no version of face_encoder"):
        rollback(tmp_path)
    (tmp_path / "face_encoder" / "5").mkdir(parents=True)
    shutil.copy(exported / "model.fp32.json", tmp_path / "face_encoder" / "5" / "model.json")
    with pytest.raises(PublishError, match="has only version 5"):
        rollback(tmp_path)
