"""RetinaFace builds with TensorRT: really, and without a GPU."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from export.detector_plan import PlanTarget, write_plan
from export.engine_builders import find_builder
from export.engine_manifest import BatchProfile, EngineManifest
from export.face_detector import install_retinaface
from lnclip.detectors import DetectorCard, load_detector
from lnclip.errors import SetupError
from lnclip.identity import file_sha256
from lnclip.retinaface_onnx import RetinaFaceOnnx

pytestmark = pytest.mark.slow

AHEAD = PlanTarget(find_builder("tensorrt_rtx"), None, "SM89")


def test_a_plan_is_built_from_the_graph(retinaface_repository: Path, tmp_path: Path) -> None:
    graph = shutil.copy(retinaface_repository / "face_detector" / "1" / "model.onnx", tmp_path)
    assert write_plan(tmp_path, AHEAD) == ["model.plan", "model.plan.json"]
    manifest = EngineManifest.load(tmp_path / "model.plan.json")
    assert manifest.onnx_sha256 == file_sha256(Path(graph))
    assert manifest.plan_sha256 == file_sha256(tmp_path / "model.plan")
    assert manifest.profile == BatchProfile(opt=8, max=16)
    size = Path(graph).stat().st_size
    assert 0.9 * size < (tmp_path / "model.plan").stat().st_size < 2 * size


def test_the_detector_comes_with_its_plan_where_one_is_wanted(
    retinaface_repository: Path, random_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = retinaface_repository / "face_detector" / "1" / "model.onnx"  # written once a session
    monkeypatch.setattr(
        "export.retinaface_export.write_retinaface", lambda tensors, out: [Path(shutil.copy(graph, out)).name]
    )
    monkeypatch.setattr(PlanTarget, "here", classmethod(lambda cls: AHEAD))
    folder = tmp_path / "face_detector" / "1"
    install_retinaface(random_weights, tmp_path, with_plan=True)
    assert set(DetectorCard.load(folder).files) == {"model.onnx", "model.plan", "model.plan.json"}
    assert isinstance(load_detector(folder), RetinaFaceOnnx)
    install_retinaface(random_weights, tmp_path)
    assert {path.name for path in folder.iterdir()} == {"model.onnx", "detector.json"}


def test_a_plan_is_not_promised_where_none_can_be_built(
    random_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("export.engine_builders.MODULES", {"tensorrt": "no_such_module"})
    with pytest.raises(SetupError, match="tensorrt cannot be imported"):
        install_retinaface(random_weights, tmp_path, with_plan=True)
    assert list(tmp_path.iterdir()) == []
