"""`benchmarks accuracy` on a real export of random weights and labelled crops."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.accuracy import engines
from benchmarks.accuracy.engines import Candidate, NotHere, candidates, opened
from benchmarks.accuracy.run import run_accuracy
from export.onnx_export import export_run
from export.report import model_file, onnx_file
from lnclip.artifact import Artifact
from lnclip.engines import OpenVinoRunner, TorchRunner, supports_bf16
from lnclip.errors import ConfigError, ParityError, SetupError
from lnclip.index import read_index


@pytest.fixture(scope="module")
def export_of_all(tmp_path_factory: pytest.TempPathFactory, random_run: Path, crops_index: Path) -> Path:
    out = tmp_path_factory.mktemp("exports") / "all"
    precisions = ["fp32", "fp16", "int8", *(["bf16"] if supports_bf16() else [])]
    export_run(random_run, out, precisions, crops_index)
    return out


@pytest.mark.slow
def test_a_run_leaves_a_record_of_every_precision(
    export_of_all: Path, random_run: Path, crops_index: Path, tmp_path: Path
) -> None:
    text = run_accuracy(export_of_all, crops_index, run=random_run, out=tmp_path)
    (path,) = tmp_path.glob("*_accuracy.json")
    record = json.loads(path.read_text())
    rows = {each["engine"]: each for each in record["rows"]}
    bf16 = ["bf16 OpenVINO"] if supports_bf16() else []
    assert list(rows) == ["fp32 OpenVINO", "fp32 ONNX Runtime", *bf16, "fp16 emulated", "int8 OpenVINO"]
    scores = {name: np.array(p) for name, p in record["samples"]["p_fake"].items()}
    assert scores["torch fp32"].std() > 0.2, "the weights tell the crops apart"
    for name, each in rows.items():
        assert each["max_dp"] == pytest.approx(np.abs(scores[name] - scores["torch fp32"]).max(), abs=2e-8)
        assert each["ranking"]["labelled"] == 48
    assert rows["fp32 OpenVINO"]["met"] is True
    assert rows["fp32 OpenVINO"]["max_dp"] < 1e-5 < rows["fp16 emulated"]["max_dp"] < rows["int8 OpenVINO"]["max_dp"]
    encoder = record["settings"]["encoder"]
    assert record["figures"][0]["what"] == f"accuracy of fp32 against torch FP32, {encoder}, OpenVINO, 48 crops"
    assert len(record["figures"]) == len(rows) - 1, "one of each precision"
    assert "**Provisional**: 48 labelled crops of 48 videos" in text
    assert "fp16 emulated" in path.with_suffix(".md").read_text()
    assert path.with_suffix(".png").read_bytes().startswith(b"\x89PNG")


def test_torch_scores_in_the_record_are_those_of_the_run(
    exported: Path, random_run: Path, crops_index: Path, face_crops: np.ndarray, tmp_path: Path
) -> None:
    run_accuracy(exported, crops_index, run=random_run, out=tmp_path)
    (path,) = tmp_path.glob("*_accuracy.json")
    record = json.loads(path.read_text())
    with TorchRunner(random_run) as torch:
        expected = torch.run(face_crops).p_fake[:, 0]
    np.testing.assert_allclose(record["samples"]["p_fake"]["torch fp32"], expected, atol=1e-6)
    assert record["samples"]["is_fake"] == [0, 1] * 24
    assert [each["engine"] for each in record["not_here"]] == ["bf16", "fp16", "int8"]


def test_a_precision_that_was_not_exported_is_said_with_what_to_do(exported: Path) -> None:
    found = candidates(exported)
    assert found[:2] == [Candidate("fp32", "OpenVINO"), Candidate("fp32", "ONNX Runtime")]
    assert all(isinstance(each, NotHere) and f"--precision {each.engine}" in each.reason for each in found[2:])


def test_a_folder_without_graphs_is_refused(tmp_path: Path, crops_index: Path) -> None:
    with pytest.raises(ConfigError, match="holds no graph: python -m export onnx"):
        run_accuracy(tmp_path, crops_index)


def test_a_missing_run_is_asked_for(exported: Path, crops_index: Path) -> None:
    with pytest.raises(ConfigError, match="give --run"):
        run_accuracy(exported, crops_index)


def test_an_export_of_other_weights_is_refused(
    exported: Path, random_run: Path, crops_index: Path, tmp_path: Path
) -> None:
    shutil.copytree(random_run, tmp_path / "run")
    model = json.loads((tmp_path / "run" / "model.json").read_text())
    model["identity"]["temperature"] += 0.5  # calibrated anew, not exported anew
    (tmp_path / "run" / "model.json").write_text(json.dumps(model))
    with pytest.raises(ConfigError, match="fp32 graph is not of"):
        run_accuracy(exported, crops_index, run=tmp_path / "run", out=tmp_path)


def test_a_graph_that_names_other_weights_is_no_evidence(
    exported: Path, random_run: Path, crops_index: Path, tmp_path: Path
) -> None:
    """The run and model.json agree with each other; the graph is of another artifact."""
    changed = tmp_path / "exports"
    shutil.copytree(random_run, tmp_path / "run")
    shutil.copytree(exported, changed)
    for file in (tmp_path / "run" / "model.json", changed / model_file("fp32")):
        model = json.loads(file.read_text())
        model["identity"]["threshold"] = 0.123
        file.write_text(json.dumps(model))
    with pytest.raises(ParityError, match="other weights"):
        run_accuracy(changed, crops_index, run=tmp_path / "run", out=tmp_path)


def test_an_unreadable_crop_is_named(exported: Path, random_run: Path, tmp_path: Path, face_crops: np.ndarray) -> None:
    lines = ["path,label,video,dataset,source"]
    for number, said in enumerate(("real", "fake")):
        Image.fromarray(face_crops[number]).save(tmp_path / f"{number}.png")
        lines.append(f"{number}.png,{said},v{number},photos,photos")
    (tmp_path / "1.png").write_bytes(b"no picture")
    (tmp_path / "index.csv").write_text("\n".join(lines) + "\n")
    with pytest.raises(ConfigError, match=r"1\.png cannot be read: not_an_image"):
        run_accuracy(exported, tmp_path / "index.csv", run=random_run, out=tmp_path)


def test_a_plan_without_a_gpu_is_not_here(exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    shutil.copytree(exported, tmp_path / "exports")
    (tmp_path / "exports" / "face_encoder.fp32.plan").write_bytes(b"plan")
    plan = candidates(tmp_path / "exports")[2]
    assert plan == Candidate("fp32", "TensorRT")
    with pytest.raises(SetupError, match="no GPU"), opened(plan, tmp_path / "exports", tmp_path):
        pass


def test_bf16_on_a_processor_without_it_is_not_here(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lnclip.engines.supports_bf16", lambda: False)
    with pytest.raises(SetupError, match="no bf16"), opened(Candidate("bf16", "OpenVINO"), exported, tmp_path):
        pass


def test_a_missing_package_is_a_lack_of_this_machine(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def enter(self: OpenVinoRunner) -> None:
        raise ModuleNotFoundError("No module named 'openvino'", name="openvino")

    monkeypatch.setattr(OpenVinoRunner, "__enter__", enter)
    with (
        pytest.raises(SetupError, match="openvino is not installed"),
        opened(Candidate("fp32", "OpenVINO"), exported, tmp_path),
    ):
        pass


def test_what_is_not_here_is_a_row_and_nothing_else_stops(
    exported: Path, random_run: Path, crops_index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def enter(self: OpenVinoRunner) -> None:
        raise ModuleNotFoundError("No module named 'openvino'", name="openvino")

    monkeypatch.setattr(OpenVinoRunner, "__enter__", enter)
    text = run_accuracy(exported, crops_index, run=random_run, out=tmp_path)
    assert "not here: openvino is not installed" in text
    assert "fp32 ONNX Runtime" in text


def test_a_machine_that_can_run_nothing_says_why(
    exported: Path, random_run: Path, crops_index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    only = [Candidate("fp32", "TensorRT")]
    monkeypatch.setattr("benchmarks.accuracy.run.candidates", lambda _: only)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(SetupError, match="can be run here: fp32 TensorRT: no GPU"):
        run_accuracy(exported, crops_index, run=random_run, out=tmp_path)


def test_scores_do_not_depend_on_how_many_crops_are_read_at_once(
    exported: Path, crops_index: Path, random_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity = Artifact.load(exported / model_file("fp32")).identity
    items = read_index(crops_index, "crop")
    with OpenVinoRunner(exported / onnx_file("fp32"), "fp32") as runner:
        together = engines.score(runner, items, identity)
        monkeypatch.setattr(engines, "BATCH", 7)
        np.testing.assert_allclose(engines.score(runner, items, identity), together, atol=1e-6)
