"""`benchmarks serving --url`: a server that somebody else runs, through the command itself."""

from __future__ import annotations

import csv
import json
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from benchmarks.__main__ import app
from benchmarks.serving.payloads import encoder_side_px
from benchmarks.serving.served import given
from lnclip.contract import ENCODER, ENSEMBLE
from lnclip.errors import ConfigError, ServerError
from lnclip.publication import versions
from lnclip.running import RunningServer
from server.embedded import StartOptions, discard, start
from server.health import Answer

NOBODY = "127.0.0.1:9"
SHORT = (
    *("--concurrency-range", "2", "--measurement-interval-s", "0.5"),
    *("--stability-percentage", "50", "--max-trials", "3"),
)


def serving(*words: str) -> Result:
    return CliRunner().invoke(app, ["serving", *words])


def refusal(*words: str) -> str:
    """What the command says in place of measuring; ``lnclip.commands`` makes one line of it."""
    error = serving(*words).exception
    assert isinstance(error, ConfigError | ServerError), repr(error)
    return str(error)


def neighbours() -> tuple[int, int]:
    """Two free ports, one after the other, as Triton's 8000 and 8001."""
    while True:
        with socket.create_server(("127.0.0.1", 0)) as first:
            port = first.getsockname()[1]
            try:
                socket.create_server(("127.0.0.1", port + 1)).close()
            except OSError:
                continue
        return port, port + 1


@pytest.fixture(scope="module")
def elsewhere(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server that does not run from the working directory."""
    run_dir = tmp_path_factory.mktemp("elsewhere") / ".run"
    http_port, grpc_port = neighbours()
    yield start(StartOptions(repository, http_port=http_port, grpc_port=grpc_port, run_dir=run_dir))
    discard(run_dir)


@pytest.fixture(scope="module")
def no_ensemble(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("alone")
    shutil.copytree(repository, folder / "repository", ignore=shutil.ignore_patterns(ENSEMBLE))
    yield start(StartOptions(folder / "repository", run_dir=folder / ".run"))
    discard(folder / ".run")


def described(repository: Path) -> Any:
    """Of the newest published encoder."""
    return json.loads((repository / ENCODER / str(versions(repository / ENCODER)[-1]) / "model.json").read_text())


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["images", "crops"])
def test_a_server_is_measured_by_its_address_and_says_itself_what_it_serves(
    mode: str, elsewhere: RunningServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("benchmarks.serving.run.PAYLOADS", 4)
    done = serving("--url", elsewhere.grpc_url, "--mode", mode, *SHORT, "--csv", "o.csv", "--out", "records")
    assert done.exit_code == 0, done.exception
    (path,) = (tmp_path / "records").glob(f"*_serving_{mode}_given.json")
    record, published = json.loads(path.read_text()), described(elsewhere.repository)
    assert record["settings"]["server"] == "given"
    model = record["settings"]["model"]
    assert model["name"] == published["provenance"]["name"]
    assert model["spec"] == published["identity"]["spec"]
    assert f"{model['name']} fp32, a server given by --url: 4 different" in done.stdout
    assert "server -\n" in done.stdout
    (sample,) = record["samples"]
    assert sample["server_cores"] is None
    assert len(sample["latencies_us"]) >= 3 * 3 * 2
    assert not sample["errors"]
    assert sample["model"]["requests"] > 0, "the statistics are those of the HTTP port before"
    with (tmp_path / "o.csv").open() as file:
        assert [row["Server Cores"] for row in csv.DictReader(file)] == [""]
    kept = path.read_text() + path.with_suffix(".md").read_text()
    assert elsewhere.grpc_url not in kept
    assert "127.0.0.1" not in kept


@pytest.mark.slow
def test_neither_the_readmes_machine_nor_its_engines_are_taken_for_the_given_servers(
    elsewhere: RunningServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.serving.run.PAYLOADS", 2)
    serving("--url", elsewhere.grpc_url, "--mode", "crops", *SHORT, "--out", str(tmp_path))
    (path,) = tmp_path.glob("*.json")
    record = json.loads(path.read_text())
    assert record["benchmark"] == "serving_crops_given"
    assert "figures" not in record
    assert "openvino" not in record["versions"]
    assert "The machine named here is the load generator's." in path.with_suffix(".md").read_text()


@pytest.mark.slow
def test_an_encoder_without_the_ensemble_is_known_by_its_ids(no_ensemble: RunningServer) -> None:
    served = given(no_ensemble.grpc_url, no_ensemble.http_url, "crops")
    model = served.facts["model"]
    assert set(model) == {"artifact_id", "spec_id"}
    assert served.called == f"encoder {model['artifact_id']}, a server given by --url"
    assert served.target.http_url == no_ensemble.http_url


@pytest.mark.slow
def test_a_server_without_the_model_is_refused(no_ensemble: RunningServer) -> None:
    said = refusal("--url", no_ensemble.grpc_url, "--http-url", no_ensemble.http_url)
    assert "runs without deepfake_detector" in said
    assert "publish a model" in said


@pytest.mark.slow
def test_statistics_that_nobody_answers_for_or_that_are_another_servers_are_refused(
    elsewhere: RunningServer, triton: RunningServer
) -> None:
    assert "--http-url HOST:PORT" in refusal("--url", elsewhere.grpc_url, "--http-url", NOBODY)
    said = refusal("--url", elsewhere.grpc_url, "--http-url", triton.http_url)
    assert "they are another server's" in said


@pytest.mark.slow
def test_a_server_that_refuses_a_request_is_not_measured(
    elsewhere: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.serving.served.GREY_PPM", b"rubbish")
    said = refusal("--url", elsewhere.grpc_url)
    assert "does not answer a test request as this version's models do (not_an_image" in said
    assert "see its log" in said


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--url", NOBODY, "--encoder", "ViT-B-32"), "give one of them"),
        (("--http-url", NOBODY), "give --url too"),
        (("--url", NOBODY), "no Triton answers at 127.0.0.1:9"),
        (("--url", "http://gpu1:8001"), "is no gRPC address"),
        (("--url", "gpu1"), "names no port"),
        (("--url", "gpu1:8001", "--http-url", "http://gpu1:8000"), "give HOST:PORT alone, the port of Triton's HTTP"),
        (("--url", "gpu1:8001", "--http-url", "gpu1:80000"), "give HOST:PORT alone, the port of Triton's HTTP"),
    ],
)
def test_refuses_addresses_and_flags_that_cannot_be(words: tuple[str, ...], why: str) -> None:
    assert why in refusal(*words)


@pytest.mark.parametrize("inputs", [[], [{"shape": [-1, 10]}], [{"name": "crops"}]])
def test_an_encoder_of_another_project_is_refused(inputs: list[object], monkeypatch: pytest.MonkeyPatch) -> None:
    answer = Answer(200, json.dumps({"inputs": inputs}).encode())
    monkeypatch.setattr("benchmarks.serving.payloads.ask", lambda *_: answer)
    with pytest.raises(ServerError, match="not of this project"):
        encoder_side_px(NOBODY)
