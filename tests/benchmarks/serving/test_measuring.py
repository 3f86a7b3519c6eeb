"""measure() and `benchmarks serving` on a real Triton with a tiny encoder."""

from __future__ import annotations

import csv
import json
import math
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.corpus import write_corpus
from benchmarks.random_service import RandomModel, random_service
from benchmarks.serving.measured import Load
from benchmarks.serving.measuring import Target, measure, messages, num_processes
from benchmarks.serving.payloads import crop_payloads, encoder_side_px
from benchmarks.serving.run import COLUMNS, run_serving
from benchmarks.serving.served import Served, embedded, of_this_machine
from benchmarks.serving.windows import Windowing
from lnclip.errors import ConfigError, ServerError
from lnclip.running import RunningServer

SHORT = Windowing(interval_s=0.5, stability=0.5, max_trials=3, warmup_requests=2)
STEPS = ["image_decoder", "face_detector", "face_aligner", "face_encoder", "face_verdict"]


@pytest.fixture(scope="module")
def folder(tiny_model: RandomModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shutil.copytree(tiny_model.run.parent, tmp_path_factory.mktemp("service") / "work")


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[RunningServer]:
    with random_service(folder, "demo-4x192-p32") as running:
        yield running


@pytest.fixture(scope="module")
def target(server: RunningServer) -> Target:
    return Target(grpc_url=server.grpc_url, http_url=server.http_url, pid=server.pid, mode="images")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    pictures = write_corpus(tmp_path_factory.mktemp("corpus"), 4, sizes=((640, 480),), faces=(2,))
    return [picture.path.read_bytes() for picture in pictures]


@pytest.mark.slow
def test_images_are_counted_with_their_faces_and_split_over_the_models(target: Target, files: list[bytes]) -> None:
    measured = measure(target, Load("concurrency", 2), files, SHORT)
    answered = len(measured.latencies_us)
    assert answered >= 3 * 3 * 2
    assert not measured.errors
    assert measured.faces == 2 * answered
    assert [step.name for step in measured.steps] == STEPS
    assert abs(measured.model.requests - answered) <= 4, "the edges of the two counts are a moment apart"
    encoder = measured.steps[3]
    assert abs(encoder.inferences - measured.faces) <= 8
    assert measured.duration_s == pytest.approx(sum(window.duration_s for window in measured.windows[-3:]))
    assert answered == sum(window.completed for window in measured.windows[-3:])
    assert measured.throughput == answered / measured.duration_s
    mean_us = float(np.mean(measured.latencies_us))
    assert measured.latencies_us.min() > 0
    assert 0 < measured.marshal_us < mean_us
    assert measured.server_cores > measured.client_cores > 0


@pytest.mark.slow
def test_an_open_loop_sends_crops_at_its_rate_and_counts_one_face_each(target: Target) -> None:
    crops = crop_payloads(5, encoder_side_px(target.http_url))
    measured = measure(replace(target, mode="crops"), Load("request_rate", 20.0), crops, SHORT)
    assert measured.model.name == "face_encoder"
    assert measured.steps == []
    assert measured.faces == len(measured.latencies_us) >= 3 * 50 - sum(measured.errors.values())
    assert 0 <= measured.delayed_share <= 1


@pytest.mark.slow
def test_requests_that_fail_are_counted_and_stop_nothing(target: Target, files: list[bytes]) -> None:
    payloads = [files[0], b"rubbish", files[0][: len(files[0]) // 2]]
    measured = measure(replace(target, pid=None), Load("concurrency", 1), payloads, SHORT)
    assert set(measured.errors) == {"not_an_image", "truncated"}
    answered, failed = len(measured.latencies_us), sum(measured.errors.values())
    assert abs(2 * answered - failed) <= 3
    assert measured.faces == 2 * answered
    assert math.isnan(measured.server_cores)


@pytest.mark.slow
def test_a_server_that_refuses_everything_is_measured_as_that(target: Target, files: list[bytes]) -> None:
    measured = measure(replace(target, grpc_url="127.0.0.1:9"), Load("concurrency", 2), files, SHORT)
    assert len(measured.latencies_us) == measured.throughput == 0
    assert set(measured.errors) == {"unavailable"}
    assert not measured.is_stable
    assert len(measured.windows) == 3


def test_a_server_that_is_not_there_is_an_error() -> None:
    nowhere = Target(grpc_url="127.0.0.1:9", http_url="127.0.0.1:9", pid=None, mode="images")
    with pytest.raises(ServerError, match="nobody answers"):
        measure(nowhere, Load("concurrency", 1), [b"x"], SHORT)


@pytest.mark.parametrize(("load", "payloads"), [(Load("concurrency", 0), [b"x"]), (Load("request_rate", 1.0), [])])
def test_refuses_no_load_and_nothing_to_send(load: Load, payloads: list[bytes]) -> None:
    nowhere = Target(grpc_url="127.0.0.1:9", http_url="127.0.0.1:9", pid=None, mode="images")
    with pytest.raises(ValueError, match="no payloads, or no load"):
        measure(nowhere, load, payloads, SHORT)


def test_a_crop_is_a_square() -> None:
    with pytest.raises(ValueError, match="square"):
        messages("crops", [b"123456"])


def test_half_of_the_cores_send_and_none_without_a_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)))
    assert [num_processes(Load("concurrency", value)) for value in (1, 3, 64)] == [1, 3, 4]
    assert num_processes(Load("request_rate", 0.5)) == 4
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0})
    assert num_processes(Load("concurrency", 64)) == 1


@pytest.mark.slow
def test_a_run_leaves_blocks_a_csv_a_record_and_a_plot(
    server: RunningServer, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setattr("benchmarks.serving.run.PAYLOADS", 4)
    loads = [Load("concurrency", 1), Load("concurrency", 4)]
    text = run_serving(embedded("crops"), loads, SHORT, csv=tmp_path / "speed.csv", out=tmp_path)
    (path,) = tmp_path.glob("*_serving_crops.json")
    record = json.loads(path.read_text())
    assert "Request concurrency: 4" in text
    assert "| 4 in flight" in text
    assert str(path) in text
    assert record["settings"]["encoder"]["encoder"]["name"] == "demo-4x192-p32"
    assert record["settings"]["tritonserver"] == "2.51.0"
    assert record["settings"]["server"] == "embedded"
    assert "openvino" in record["versions"]
    assert [row["load"] for row in record["rows"]] == ["1 in flight", "4 in flight"]
    assert set(record["rows"][0]) == set(COLUMNS)
    for sample in record["samples"]:
        assert len(sample["latencies_us"]) == sum(window["completed"] for window in sample["windows"][-3:]) > 0
        assert sample["model"]["name"] == "face_encoder"
    with (tmp_path / "speed.csv").open() as file:
        assert {row["Concurrency"] for row in csv.DictReader(file)} == {"1", "4"}
    assert path.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    assert "demo-4x192-p32 fp32" in path.with_suffix(".md").read_text()


@pytest.mark.slow
def test_a_random_server_is_recorded_as_one_with_the_encoder_of_its_repository(
    server: RunningServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.serving.run.PAYLOADS", 2)
    served = of_this_machine(server, "random", "images")
    text = run_serving(served, [Load("concurrency", 2)], SHORT, out=tmp_path)
    assert "demo-4x192-p32 fp32: 2 different JPEGs" in text
    (path,) = tmp_path.glob("*_serving_images.json")
    assert json.loads(path.read_text())["settings"]["server"] == "random"


def test_refuses_loads_that_one_csv_cannot_hold_before_measuring(tmp_path: Path) -> None:
    target = Target(grpc_url="127.0.0.1:9", http_url="127.0.0.1:9", pid=None, mode="images")
    nowhere = Served(target=target, kind="given", called="nothing", facts={})
    mixed = [Load("concurrency", 1), Load("request_rate", 1.0)]
    with pytest.raises(ConfigError, match="not both"):
        run_serving(nowhere, mixed, SHORT, csv=tmp_path / "x.csv", out=tmp_path)
    with pytest.raises(ConfigError, match="at least one load"):
        run_serving(nowhere, [], SHORT, out=tmp_path)


def test_says_how_to_get_a_server_where_none_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ServerError, match="python -m server start, or give --url"):
        embedded("images")
