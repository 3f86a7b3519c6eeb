"""`benchmarks encoder` as a whole, on the tiny encoder: real engines, and what the record holds of them."""

import json

import numpy as np
import pytest
import torch

from benchmarks.encoder_speed import run
from benchmarks.encoder_speed.loading import load
from benchmarks.encoder_speed.run import run_encoder
from benchmarks.encoder_speed.ways import Way, ways
from benchmarks.encoder_speed.workers import LIMITING, answer, num_threads, started
from lnclip.engines import TorchRunner
from lnclip.errors import ConfigError, LnclipError, SetupError

TINY = "demo-4x192-p32"


@pytest.fixture
def crops():
    return np.random.default_rng(0).integers(0, 256, (3, 224, 224, 3), dtype=np.uint8)


@pytest.mark.slow
def test_the_record_holds_every_way_that_is_here(work, tmp_path):
    text = run_encoder(TINY, [2], 2, work, tmp_path)
    (path,) = tmp_path.glob("*_encoder.json")
    record = json.loads(path.read_text())
    names = {way.name for way in ways("cpu")}
    here = {row["way"] for row in record["rows"]}
    assert {"torch eager fp32", "torch eager fp32, one face a call", "onnxruntime fp32", "openvino fp32"} <= here
    assert here | (record["not_here"].keys() & names) == names
    assert "face_encoder.int8.onnx was not exported" in record["not_here"]["openvino int8"]
    assert all(len(sample["call_seconds"]) == 2 for sample in record["samples"])
    assert all(0 < check["max_dp"] <= check["limits"]["max_dp"] for check in record["checks"].values())
    ceilings = {
        sample["by"]: sample["seconds"] for sample in record["ceiling_samples"] if sample["precision"] == "fp32"
    }
    assert ceilings.keys() == {"torch", "openvino"}
    assert all(len(seconds) >= 9 for by in ceilings.values() for seconds in by.values())
    assert all(row["ceiling_share"] > 0 for row in record["rows"])
    assert "| torch eager fp32, one face a call | 2 " in text
    assert "openvino int8: not here: face_encoder.int8.onnx was not exported" in path.with_suffix(".md").read_text()
    assert path.with_suffix(".png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
@pytest.mark.parametrize("call", ["batched", "one face a call"])
def test_open_clip_in_eager_fp32_says_what_the_reference_says(work, crops, call):
    with TorchRunner(work / "run") as runner:
        wanted = runner.run(crops)
    got = load(Way("torch", "fp32", "cpu", call), work / "run", work / "export")(crops)
    np.testing.assert_allclose(got.p_fake, wanted.p_fake, atol=1e-5)  # LIMITS["fp32"]
    np.testing.assert_allclose(got.embedding, wanted.embedding, atol=1e-5)
    np.testing.assert_array_equal(got.artifact_id, wanted.artifact_id)


@pytest.mark.slow
def test_one_face_a_call_really_calls_once_a_face(work, crops, monkeypatch):
    import benchmarks.encoder_speed.loading as loading

    batches = []
    real = loading._encode
    monkeypatch.setattr(loading, "_encode", lambda *given: batches.append(len(given[-1])) or real(*given))
    load.__wrapped__(Way("torch", "fp32", "cpu", "one face a call"), work / "run", work / "export")(crops)
    assert batches == [1, 1, 1]


@pytest.mark.slow
def test_another_encoders_folder_is_refused(work):
    with pytest.raises(ConfigError, match=f"holds {TINY}"):
        run_encoder("ViT-B-32", [1], 1, work)


@pytest.mark.parametrize(("has_gpu", "precisions"), [(True, ("fp32", "fp16")), (False, ("fp32",))])
def test_the_graphs_that_a_device_is_measured_with_are_made(tmp_path, monkeypatch, has_gpu, precisions):
    asked = []

    def make(folder, encoder, precisions):
        asked.append((folder, encoder, precisions))
        raise SetupError("enough")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_gpu)
    monkeypatch.setattr(run, "random_model", make)
    with pytest.raises(SetupError, match="enough"):
        run_encoder(TINY, [1], 1, tmp_path)
    assert asked == [(tmp_path, TINY, precisions)]


def test_the_driver_is_recorded_as_nvidia_smi_names_it(tmp_path, monkeypatch):
    smi = tmp_path / "nvidia-smi"
    smi.write_text('#!/bin/sh\n[ "$1" = --query-gpu=driver_version ] && echo 580.65.06\n')
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    assert run._gpu_software() == {"cuda": "13.0", "driver": "580.65.06"}
    smi.unlink()
    assert run._gpu_software() == {"cuda": "13.0", "driver": None}


def test_the_packages_of_a_gpu_are_recorded():
    assert {"onnxruntime-gpu", "tensorrt", "tensorrt-cu13"} <= set(run.PACKAGES)


@pytest.mark.parametrize(
    ("encoder", "sizes", "rounds", "complaint"),
    [
        ("ViT-H-14", [1], 1, "ViT-H-14 is not one of"),
        ("PE-Core-L-14", [1], 1, "is no CLIP encoder"),
        (TINY, [], 1, "batch sizes are 1 to 64"),
        (TINY, [0, 8], 1, "batch sizes are 1 to 64"),
        (TINY, [65], 1, "batch sizes are 1 to 64"),
        (TINY, [1], 0, "one round at least"),
    ],
)
def test_bad_settings_are_refused_before_anything_is_made(tmp_path, encoder, sizes, rounds, complaint):
    with pytest.raises(ConfigError, match=complaint):
        run_encoder(encoder, sizes, rounds, tmp_path / "work")
    assert not (tmp_path / "work").exists()


def test_a_shells_limit_on_threads_does_not_reach_the_engines(monkeypatch):
    import os

    for name in LIMITING[:2]:
        monkeypatch.setenv(name, "1")
    with started(["torch"]) as workers:
        assert workers.ask("torch", num_threads) > 1 or len(os.sched_getaffinity(0)) == 1


def test_a_workers_errors_are_raised_here_and_its_death_is_one(tmp_path, crops):
    import os

    with started(["openvino"]) as workers:
        with pytest.raises(SetupError, match="was not exported"):
            workers.ask("openvino", answer, Way("openvino", "int8"), tmp_path, tmp_path, crops, 3)
        with pytest.raises(ValueError, match="3 crops are no multiple of 2"):
            workers.ask("openvino", answer, Way("openvino", "int8"), tmp_path, tmp_path, crops, 2)
        with pytest.raises(LnclipError, match="the process of openvino died"):
            workers.ask("openvino", os._exit, 3)
