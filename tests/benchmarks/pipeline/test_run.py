"""`benchmarks pipeline` with a small encoder and real servers: what is recorded, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.corpus import write_corpus
from benchmarks.pipeline import run as pipeline
from benchmarks.pipeline import served as served_models
from benchmarks.pipeline.added import ADDED
from benchmarks.pipeline.files_to_rows import Measured, Result, client_route, measure_routes, papers_route
from benchmarks.pipeline.papers_path import PapersPath
from benchmarks.pipeline.run import TARGETS, Findings, run_pipeline
from benchmarks.pipeline.served import published, serving
from benchmarks.pipeline.share import Share
from benchmarks.pipeline.shares import CROPS
from benchmarks.pipeline.turns import Settings
from benchmarks.random_service import RandomModel, varied_crops
from benchmarks.serving.measuring import Windowing
from export.spread import write_random_run
from lnclip.architecture import KNOWN
from lnclip.artifact import Precision
from lnclip.errors import LnclipError, PublishError, SetupError

ENCODER = "demo-4x192-p32"
QUICK = Settings(
    rounds=1,
    windowing=Windowing(interval_s=0.2, max_trials=3),
    concurrencies=(4,),
    batch_sizes=(1, 8),
    turn_s=0.2,
    pairs=2,
)


@pytest.mark.slow
def test_a_run_leaves_a_record_with_routes_stages_and_shares(work: Path, tmp_path: Path):
    text = run_pipeline(ENCODER, 8, 2, work, tmp_path, precisions=("fp32", "int8"), shares=QUICK)
    (path,) = tmp_path.glob("*_pipeline.json")
    record = json.loads(path.read_text())
    rows = {row["name"]: row for row in record["rows"]}
    assert list(rows) == [
        "papers' path, one face per call",
        "papers' path, an image's faces at once",
        "client score, fp32",
        "client score --two-calls, fp32",
    ]
    assert rows["papers' path, one face per call"]["ratio"] == 1.0
    assert all(row["images_per_s"] > 0 and row["cpu_ms"] > 0 for row in rows.values())
    assert rows["client score, fp32"]["encoder_batch"] >= 1
    assert all(len(turns) == 2 for turns in record["samples"].values())
    assert all(turn["server_cpu_s"] > 0 for turn in record["samples"]["client score --two-calls, fp32"])
    assert list(record["not_here"]) == ["int8"]
    assert "not here" in text
    assert {stage["stage"] for stage in record["stages"]} >= {"decode", "detect", "align", "encode", "verdict"}
    assert all(len(stage["samples"]) == 2 for stage in record["stages"])
    parts = record["cpu_ms_parts"]
    assert sum(parts.values()) == pytest.approx(rows["client score, fp32"]["cpu_ms"])
    assert len(record["shares"]) == 3
    assert [figure["target"] for figure in record["figures"]] == ["-", "-", "-", "at most 6 ms"]  # others: ViT-L/14's
    assert path.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    assert "transport and the rest" in path.with_suffix(".md").read_text()


@pytest.mark.slow
def test_a_server_with_other_weights_is_found_out_and_so_is_a_file_without_a_score(work: Path, tmp_path: Path):
    files = [picture.path for picture in write_corpus(tmp_path / "corpus", 4, sizes=[(640, 480)], faces=[1, 2])]
    detector = work / "repository" / "face_detector" / "1"
    write_random_run(tmp_path / "other", KNOWN[ENCODER], varied_crops(detector, KNOWN[ENCODER].spec), seed=1)
    papers = papers_route("papers' path", PapersPath(tmp_path / "other", detector), 1)
    with serving(work, ENCODER, ["fp32"]) as served:
        client = client_route("client score", served.servers["fp32"], "fp32", "ensemble", tmp_path / "rows.jsonl")
        with pytest.raises(LnclipError, match="client score: p_fake differs"):
            measure_routes([papers, client], files, 1)
        (tmp_path / "corpus" / "text.jpg").write_text("no picture")
        with pytest.raises(LnclipError, match=r"client score: not every file was scored: .*not_an_image"):
            client.score([*files, tmp_path / "corpus" / "text.jpg"])


@pytest.mark.slow
def test_a_precision_that_cannot_be_published_is_left_out(work: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object) -> Path:
        raise PublishError("it fails its check")

    monkeypatch.setattr(served_models, "random_model", lambda *_: model_in(work))
    monkeypatch.setattr(served_models, "published", refuse)
    with pytest.raises(SetupError, match="no precision can be served: fp32: it fails its check"):
        enter(work, "fp32")


def model_in(work: Path) -> RandomModel:
    return RandomModel(work / "run", work / "export", work / "repository")


def enter(work: Path, precision: Precision) -> None:
    with serving(work, ENCODER, [precision]):
        pass


@pytest.mark.slow
def test_the_repository_that_is_there_serves_its_own_precision(work: Path):
    model = model_in(work)
    assert published(model, "fp32") == model.repository


def test_a_processor_without_bf16_is_said_before_anything_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(served_models, "supports_bf16", lambda: False)
    with pytest.raises(SetupError, match="no precision can be served: bf16: this processor has no bf16"):
        enter(tmp_path, "bf16")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_an_export_without_the_graph_is_taken_as_it_is(work: Path):
    with pytest.raises(
        SetupError, match=r"no precision can be served: int8: the export has no face_encoder\.int8\.onnx"
    ):
        enter(work, "int8")
    assert not (work / "export" / "face_encoder.int8.onnx").exists()


@pytest.mark.parametrize(
    ("encoder", "native_int8", "targets"),
    [
        ("ViT-L-14", True, ["-", "at least 5x", "at least 95%", "at most 6 ms"]),
        ("ViT-L-14", False, ["-", "-", "at least 95%", "at most 6 ms"]),
        ("ViT-B-32", True, ["-", "-", "-", "at most 6 ms"]),
    ],
)
def test_a_target_is_for_the_encoder_and_the_processor_that_it_was_set_for(encoder, native_int8, targets):
    results = [Result(f"client score, {precision}", 1, 1, 1, 1, 4.0, 2, 900, 8) for precision in ("fp32", "int8")]
    shares = [Share(CROPS, [0.96], 0, {}), Share(ADDED, [5.0], 0, {})]
    found = Findings(Measured({}, 8, 13), results, {}, "fp32", [], shares, [])
    made = pipeline.figures(encoder, found, native_int8=native_int8)
    assert [figure.target for figure in made] == targets
    assert made[1].met == (False if targets[1] != "-" else None)


def test_only_the_design_sets_targets():
    assert TARGETS == {("ViT-L-14", "bf16"): 3.5, ("ViT-L-14", "int8"): 5.0}
    assert pipeline.SMALL_ENCODER == ENCODER
