"""A repository has one preprocessing and one size, and a server of one flavour."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from export.onnx_export import export_run
from export.publishing import PublishOptions, publish
from export.spread import write_random_run
from lnclip.architecture import KNOWN, EncoderArchitecture
from lnclip.errors import PublishError, WithdrawnError
from lnclip.publication import versions
from lnclip.spec import PreprocessSpec
from tests.export.conftest import encoder_files, pretend_server


def export_another(tmp_path: Path, crops: np.ndarray, *, width: int, spec: PreprocessSpec) -> Path:
    shape = EncoderArchitecture(name="tiny", width=width, layers=1, heads=2, patch_px=32)
    write_random_run(tmp_path / "run", shape, crops, spec=spec)
    export_run(tmp_path / "run", tmp_path / "another", ["fp32"])
    return tmp_path / "another"


@pytest.mark.slow
def test_another_embedding_size_is_refused(published: Path, tmp_path: Path, face_crops, spec) -> None:
    before = encoder_files(published)
    another = export_another(tmp_path, face_crops, width=64, spec=spec)
    with pytest.raises(PublishError, match=r"embedding size \(192 there, 64 here\).*--replace-spec.*--repository DIR"):
        publish(another, published)
    assert encoder_files(published) == before


@pytest.mark.slow
def test_another_preprocessing_is_taken_when_told_to(published: Path, tmp_path: Path, face_crops) -> None:
    spec = PreprocessSpec(crop_scale=1.5)
    another = export_another(tmp_path, face_crops, width=KNOWN["demo-4x192-p32"].width, spec=spec)
    with pytest.raises(PublishError, match=r"the preprocessing \(.*--replace-spec"):
        publish(another, published)
    pretend_server(published, tmp_path / ".run")
    replace = PublishOptions(replace_spec=True, run_dir=tmp_path / ".run")
    with pytest.raises(PublishError, match=r"server stop.*--replace-spec.*server start"):
        publish(another, published, options=replace)
    aligner_spec = published / "face_aligner" / "1" / "spec.json"
    assert PreprocessSpec.model_validate_json(aligner_spec.read_bytes()) != spec
    (tmp_path / ".run" / "server.json").unlink()
    assert publish(another, published, options=replace) == 2
    assert PreprocessSpec.model_validate_json(aligner_spec.read_bytes()) == spec


@pytest.mark.slow
def test_a_version_that_the_server_refuses_is_withdrawn(exported: Path, published: Path, tmp_path: Path) -> None:
    pretend_server(published, tmp_path / ".run")
    with pytest.raises(WithdrawnError, match=r"refused version 2, so it is withdrawn: face_encoder did not load"):
        publish(exported, published, options=PublishOptions(run_dir=tmp_path / ".run"))
    assert versions(published / "face_encoder") == [1]


def test_a_server_of_another_flavour_is_not_given_the_version(exported: Path, target: Path, tmp_path: Path) -> None:
    pretend_server(target, tmp_path / ".run", flavour="gpu")
    with pytest.raises(PublishError, match="runs flavour gpu"):
        publish(exported, target, options=PublishOptions(run_dir=tmp_path / ".run"))
    assert not target.exists()


@pytest.mark.slow
def test_a_server_on_another_repository_is_left_alone(exported: Path, target: Path, tmp_path: Path) -> None:
    pretend_server(tmp_path / "other", tmp_path / ".run")
    assert publish(exported, target, options=PublishOptions(run_dir=tmp_path / ".run")) == 1
