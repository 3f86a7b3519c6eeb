"""The search on a real tritonserver, and what it leaves behind."""

import json
import shutil
from pathlib import Path

import pytest
import tritonclient.grpc as grpcclient

from benchmarks.random_service import varied_crops
from benchmarks.serving.windows import Windowing
from benchmarks.tuning import run as tune
from benchmarks.tuning.comparing import Pair, Sample, Trial
from benchmarks.tuning.descent import UnmeasurableError
from benchmarks.tuning.evidence import Found, rows, tables
from benchmarks.tuning.run import Effort, Goal, run_tune
from benchmarks.tuning.services import Services, link_repository
from benchmarks.tuning.settings import Settings, read_settings
from lnclip.errors import ConfigError, SetupError
from server.launch import KEY_HEADER
from server.repository import SOURCE, has_encoder_adapter
from server.tuned import Tuned

BRIEF = Windowing(interval_s=0.2, max_trials=3, warmup_requests=2)
FEW = Effort(rounds=2, windowing=BRIEF, pictures=3)


@pytest.fixture
def copy(repository, tmp_path) -> Path:
    """A repository that a test may change."""
    return Path(shutil.copytree(repository, tmp_path / "repository"))


@pytest.fixture
def services(repository, tmp_path, spec):
    crops = varied_crops(repository / "face_detector" / "1", spec)
    payloads = [crop.tobytes() for crop in crops]
    with Services(
        repository=repository,
        committed=read_settings(SOURCE),
        work=tmp_path,
        mode="crops",
        payloads=payloads,
        crops=crops,
        windowing=BRIEF,
    ) as running:
        yield running


def contents(folder: Path) -> dict:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc"}


@pytest.mark.slow
def test_a_candidate_is_served_with_its_settings_and_its_batches_are_no_larger(services, repository):
    before = contents(repository)
    settings = read_settings(repository)._replace(
        detector_instances=1, encoder_instances=2, encoder_batch=2, threads=1, streams=2, concurrency=8
    )
    found = services.measure(settings)
    assert found.images_per_s > 0
    assert found.failed == 0
    assert found.encoder_batch <= 2.0, "its start asked for 16 crops in one request, which passed"
    [service] = services._running.values()
    with grpcclient.InferenceServerClient(service.server.grpc_url) as client:
        headers = {f"triton-grpc-protocol-{KEY_HEADER}": service.server.key}
        config = client.get_model_config("face_encoder", headers=headers, client_timeout=20).config
    assert [group.count for group in config.instance_group] == [2]
    assert list(config.dynamic_batching.preferred_batch_size) == [2]
    assert {name: each.string_value for name, each in config.parameters.items()} == {"threads": "1", "streams": "2"}
    assert contents(repository) == before, "a candidate's repository is its own"


@pytest.mark.slow
def test_another_load_needs_no_other_server_and_what_is_not_kept_is_stopped(services, repository):
    settings = read_settings(repository, concurrency=1)
    services.measure(settings)
    [service] = services._running.values()
    services.measure(settings._replace(concurrency=2))
    assert list(services._running.values()) == [service]
    services.keep(settings._replace(concurrency=4))
    assert service.server.is_alive
    services.keep()
    assert not service.server.is_alive


@pytest.mark.slow
def test_settings_that_do_not_fit_the_machine_are_a_reason(services, repository):
    many = read_settings(repository)._replace(decoder_instances=10_000_000)
    with pytest.raises(UnmeasurableError, match="MiB free"):
        services.measure(many)
    assert services._running == {}


@pytest.mark.slow
def test_a_server_that_answers_otherwise_is_not_measured(services, repository):
    services._reference = 1 - services_answers(services, repository)
    with pytest.raises(UnmeasurableError, match="answers otherwise"):
        services.measure(read_settings(repository))
    assert services._running == {}


def services_answers(services: Services, repository: Path):
    from lnclip.engines import OpenVinoRunner

    with OpenVinoRunner(repository / "face_encoder" / "1" / "model.onnx", "fp32") as runner:
        return runner.run(services.crops).p_fake


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["images", "crops"])
def test_a_search_leaves_a_record_with_every_sample(repository, tmp_path, mode):
    told = run_tune(repository, 60_000.0, mode, 3.0, tmp_path / "out", effort=FEW)
    [path] = (tmp_path / "out").glob("*_tune.json")
    record = json.loads(path.read_text())
    assert record["settings"]["mode"] == mode
    assert record["encoder"]["precision"] == "fp32"
    assert record["served_versions"]["openvino"]
    noise = record["trials"][0]
    assert noise["change"] == "nothing"
    assert len(noise["samples"]) == len(noise["ratios"]) == 2
    assert noise["samples"][0]["candidate"]["images_per_s"] > 0
    assert record["loads"][0]["concurrency"] == 1
    assert record["applied"] is False
    assert [figure["target"] for figure in record["figures"]] == ["-"]
    assert str(path) in told
    assert path.with_suffix(".png").stat().st_size > 10_000
    assert "the same twice" in path.with_suffix(".md").read_text()


def sample(images_per_s: float, p99_ms: float = 50.0) -> Sample:
    return Sample(images_per_s, p99_ms, images_per_s, 2.0, 0, True)


def found(repository: Path, *, accepted: bool) -> Found:
    before = read_settings(repository, concurrency=4)
    tuned = before._replace(detector_instances=3, streams=2)
    final = Trial(
        before, tuned, [Pair(sample(10.0), sample(12.5))] * 2, accepted, "better" if accepted else "not better"
    )
    failed = Trial(before, before._replace(threads=1), [], False, "face_encoder | did not load " * 9)
    return Found([(before, sample(10.0))], [failed, final], final, 100.0)


@pytest.mark.slow
def test_what_won_is_served_from_the_next_start_on_and_init_keeps_it(copy, tmp_path):
    goal = Goal(repository=copy, latency_limit_ms=100.0, mode="images", budget_s=1.0, effort=FEW)
    told = tune._report(found(copy, accepted=True), goal, tmp_path / "out", apply=True)
    [record] = (tmp_path / "out").glob("*.json")
    assert json.loads(record.read_text())["applied"] is True
    assert Tuned.load(copy).record == record.name
    now = read_settings(copy, concurrency=4)
    assert (now.detector_instances, now.streams) == (3, 2)
    assert record.name in (copy / "face_detector" / "configs" / "cpu.pbtxt").read_text()
    assert "1.25x images/s with 4 requests in flight" in told
    link_repository(copy, tmp_path / "again", Tuned.load(copy))
    assert read_settings(tmp_path / "again", concurrency=4) == now


@pytest.mark.slow
@pytest.mark.parametrize(("accepted", "apply"), [(True, False), (False, True)])
def test_without_a_winner_or_without_apply_the_repository_stays(copy, tmp_path, accepted, apply):
    before = contents(copy)
    goal = Goal(repository=copy, latency_limit_ms=100.0, mode="images", budget_s=1.0, effort=FEW)
    tune._report(found(copy, accepted=accepted), goal, tmp_path / "out", apply=apply)
    assert contents(copy) == before


def test_rows_say_what_was_measured_and_why_not():
    settings = Settings(2, 2, 2, 1, None, 0, None, None, 4)
    final = Trial(settings, settings._replace(streams=2), [Pair(sample(10.0), sample(12.5))] * 2, True, "better")
    failed = Trial(settings, settings._replace(threads=1), [], False, "face_encoder | did not load " * 9)
    found = Found([(settings, sample(10.0))], [failed, final], final, 100.0)
    text = tables(found, "A note.")
    assert "| encoder streams default -> 2 | 10.00 -> 12.50 | 50 -> 50 | 1.250 | 1.25..1.25 | 1.250" in text
    assert "| encoder threads default -> 1 | -  " in text
    assert "face_encoder / did not load" in text
    assert "A note." in text
    kept = rows(found)
    assert kept["ratio"] == 1.25
    assert kept["trials"][0]["reason"] == "face_encoder | did not load " * 9
    json.dumps(kept, allow_nan=False)


def test_a_gain_says_what_it_is_of():
    settings = Settings(2, 2, 2, 1, None, 0, None, None, 4)
    slow = [Pair(sample(10.0, 200.0), sample(8.0, 100.0))] * 2
    final = Trial(settings, settings._replace(streams=2), slow, True, "better")
    late = Found([(settings, sample(10.0, 200.0))], [final], final, 100.0)
    assert late.gain == rows(late)["gain"] == "p99 latency divided by 2.00"
    assert "| 2.000 of p99 | 2.00..2.00 |" in tables(late, "")
    assert late._replace(limit_ms=300.0).gain == "0.80x images/s"
    assert late._replace(final=final._replace(accepted=False)).gain == "nothing better was found"


@pytest.mark.slow
@pytest.mark.parametrize("apply", [True, False])
def test_another_load_alone_is_no_setting_of_the_server(copy, tmp_path, apply):
    before = contents(copy)
    now = read_settings(copy, concurrency=4)
    final = Trial(now, now._replace(concurrency=8), [Pair(sample(10.0), sample(12.5))] * 2, True, "better")
    found = Found([(now, sample(10.0))], [final], final, 100.0)
    goal = Goal(repository=copy, latency_limit_ms=100.0, mode="images", budget_s=1.0, effort=FEW)
    told = tune._report(found, goal, tmp_path / "out", apply=apply)
    assert "the settings stay: 1.25x images/s with 8 requests in flight in place of 4" in told
    assert "--apply" not in told
    [record] = map(json.loads, (path.read_text() for path in (tmp_path / "out").glob("*.json")))
    assert record["applied"] is False
    [figure] = record["figures"]
    assert figure["what"].startswith("server, another load alone against before, ")
    assert figure["figure"] == "1.25x images/s"
    assert contents(copy) == before


@pytest.mark.slow
def test_an_encoder_with_an_old_adapter_keeps_its_threads(copy):
    assert has_encoder_adapter(copy)
    adapter = copy / "face_encoder" / "1" / "model.py"
    adapter.write_text(adapter.read_text() + "\n")
    assert not has_encoder_adapter(copy)


@pytest.mark.parametrize(
    ("limit_ms", "budget_s", "effort"),
    [
        (0.0, 10.0, FEW),
        (float("nan"), 10.0, FEW),
        (100.0, -1.0, FEW),
        (100.0, float("inf"), FEW),
        (100.0, 10.0, Effort(rounds=1)),
        (100.0, 10.0, Effort(rounds=11)),
        (100.0, 10.0, Effort(pictures=1)),
    ],
)
def test_numbers_that_cannot_work_are_refused(tmp_path, limit_ms, budget_s, effort):
    with pytest.raises(ConfigError):
        run_tune(tmp_path, limit_ms, "images", budget_s, effort=effort)


def test_a_repository_without_an_encoder_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SetupError, match="export publish"):
        run_tune(tmp_path / "none", 100.0, "images", 10.0)


def test_a_running_server_would_share_the_cores(tmp_path, monkeypatch):
    monkeypatch.setattr(tune.running, "find", lambda: type("Server", (), {"pid": 7}))
    with pytest.raises(ConfigError, match="pid 7"):
        run_tune(tmp_path, 100.0, "images", 10.0)
