"""Publishing under a real server: the new version answers, or the old one goes on."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from export.face_detector import install_mtcnn
from export.onnx_export import export_run
from export.publishing import publish
from export.spread import write_random_run
from lnclip.architecture import KNOWN
from lnclip.artifact import Artifact
from lnclip.errors import PublishError
from lnclip.publication import versions
from lnclip.running import RunningServer
from lnclip.spec import PreprocessSpec
from server.embedded import StartOptions, start, stop

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def retrained(tmp_path_factory: pytest.TempPathFactory, face_crops: np.ndarray) -> Path:
    """The same shape and spec with other weights."""
    folder = tmp_path_factory.mktemp("retrained")
    write_random_run(folder / "run", KNOWN["demo-4x192-p32"], face_crops, seed=1)
    export_run(folder / "run", folder / "export", ["fp32"])
    return folder / "export"


@pytest.fixture
def own_server(exported: Path, tmp_path: Path):
    repository, run_dir = tmp_path / "repository", tmp_path / ".run"
    install_mtcnn(repository)
    publish(exported, repository)
    yield start(StartOptions(repository=repository, run_dir=run_dir))
    stop(run_dir)


def served_id(server: RunningServer, crops: np.ndarray) -> list[int]:
    import tritonclient.grpc as triton

    request = triton.InferInput("crops", [1, 224, 224, 3], "UINT8")
    request.set_data_from_numpy(crops[:1])
    with triton.InferenceServerClient(server.grpc_url) as client:
        return client.infer("face_encoder", [request]).as_numpy("artifact_id")[0].tolist()


def test_a_published_version_answers_at_once(
    own_server: RunningServer, exported: Path, retrained: Path, tmp_path: Path, face_crops: np.ndarray
) -> None:
    old, new = (Artifact.load(export / "model.fp32.json").identity.artifact_id for export in (exported, retrained))
    assert served_id(own_server, face_crops) == list(old)
    assert publish(retrained, own_server.repository, run_dir=tmp_path / ".run") == 2
    assert served_id(own_server, face_crops) == list(new)


def test_a_refused_version_leaves_the_old_one_answering(
    own_server: RunningServer, exported: Path, retrained: Path, tmp_path: Path, face_crops: np.ndarray
) -> None:
    aligner_spec = own_server.repository / "face_aligner" / "1" / "spec.json"
    kept = shutil.copyfile(aligner_spec, tmp_path / "spec.json")
    aligner_spec.write_text(PreprocessSpec(crop_scale=2.0).model_dump_json())
    with pytest.raises(PublishError, match=r"refused version 2.*cuts crops for spec"):
        publish(retrained, own_server.repository, run_dir=tmp_path / ".run")
    assert versions(own_server.repository / "face_encoder") == [1]
    old = Artifact.load(exported / "model.fp32.json").identity.artifact_id
    assert served_id(own_server, face_crops) == list(old)
    shutil.copyfile(kept, aligner_spec)
    assert publish(retrained, own_server.repository, run_dir=tmp_path / ".run") == 2
    assert served_id(own_server, face_crops) != list(old)
