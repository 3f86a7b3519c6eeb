"""Our load generator against the real perf_analyzer: the same server, requests and load.

They take turns. That needs a machine as fast in one turn as in the next, which shared cores are not: beside
the real ensemble they measure an encoder that sleeps, whose speed hardly depends on what else runs.
"""

import base64
import json
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import pytest

from benchmarks.corpus import write_corpus
from benchmarks.random_service import random_service
from benchmarks.serving.console import console_block, write_csv
from benchmarks.serving.measured import Load, Measurement
from benchmarks.serving.measuring import Mode, Target, measure
from benchmarks.serving.windows import Windowing
from lnclip.running import RunningServer
from server.embedded import StartOptions, discard, start
from tests.benchmarks.serving.perf_analyzer import (
    ANY,
    WINDOWS,
    PerfAnalyzer,
    Reported,
    UnavailableError,
    crop_tensor,
    fetch,
    image_tensor,
    parse_csv,
    run_perf_analyzer,
    write_input,
)

log = logging.getLogger(__name__)

CLOSED, OPEN = Load("concurrency", 4), Load("request_rate", 80)
INTERVAL_S = {"concurrency": 2.0, "request_rate": 3.0}
LEAST = {"concurrency": 30, "request_rate": 160}
"""Requests in each of perf_analyzer's windows, which last whole seconds. It has no warm-up, we have."""

FLAGS = {
    "concurrency": ["--concurrency-range"],
    "request_rate": ["--request-distribution", "poisson", "--request-rate-range"],
}

WARM_UP = 4
ROUNDS, MOST_ROUNDS = 3, 7
AGREEMENT = 0.10
"""Of the median of the rounds' ratios. On shared cores one round can differ by more."""

SIDE_PX = 224

SLEEPER_CONFIG = """
name: "face_encoder"
backend: "python"
max_batch_size: 64
input [ { name: "crops" data_type: TYPE_UINT8 dims: [ 224, 224, 3 ] } ]
output [
  { name: "p_fake" data_type: TYPE_FP32 dims: [ 1 ] },
  { name: "threshold" data_type: TYPE_FP32 dims: [ 1 ] },
  { name: "artifact_id" data_type: TYPE_INT32 dims: [ 2 ] },
  { name: "spec_id" data_type: TYPE_INT32 dims: [ 2 ] },
  { name: "embedding" data_type: TYPE_FP32 dims: [ 8 ] }
]
instance_group [ { kind: KIND_CPU count: COUNT } ]
"""

SLEEPER = """
import time

import numpy as np
import triton_python_backend_utils as pb_utils

FLOATS, INTEGERS = {"p_fake": 1, "threshold": 1, "embedding": 8}, {"artifact_id": 2, "spec_id": 2}


class TritonPythonModel:
    def execute(self, requests):
        return [self.respond() for request in requests]

    def respond(self):
        time.sleep(0.04)
        floats = [pb_utils.Tensor(name, np.zeros((1, size), np.float32)) for name, size in FLOATS.items()]
        integers = [pb_utils.Tensor(name, np.zeros((1, size), np.int32)) for name, size in INTEGERS.items()]
        return pb_utils.InferenceResponse(floats + integers)
"""
"""An instance of it answers less than 25 requests a second, whoever else needs the processor."""


@dataclass(frozen=True)
class Comparison:
    """The same question in both programs' words."""

    found: PerfAnalyzer
    server: RunningServer
    load: Load
    mode: Mode
    payloads: list[bytes]
    folder: Path

    @property
    def target(self) -> Target:
        server = self.server
        return Target(grpc_url=server.grpc_url, http_url=server.http_url, pid=server.pid, mode=self.mode)

    def measured(self) -> Measurement:
        windowing = Windowing(
            interval_s=INTERVAL_S[self.load.kind], stability=float(ANY), max_trials=WINDOWS, warmup_requests=WARM_UP
        )
        return measure(self.target, self.load, self.payloads, windowing)

    def reported(self) -> tuple[Reported, str]:
        as_tensor = image_tensor if self.mode == "images" else lambda crop: crop_tensor(crop, SIDE_PX)
        data = write_input(self.folder / "input.json", [as_tensor(payload) for payload in self.payloads])
        load = [*FLAGS[self.load.kind], str(self.load.value)]
        asked = ["-m", self.target.model, "--input-data", str(data), *load]
        url, key = self.server.grpc_url, self.server.key
        return run_perf_analyzer(self.found, asked, self.folder, grpc_url=url, key=key, least=LEAST[self.load.kind])


@pytest.fixture(scope="module")
def found() -> PerfAnalyzer:
    try:
        return fetch()
    except UnavailableError as error:
        pytest.skip(f"perf_analyzer cannot be had: {error}")


@contextmanager
def sleeping(found: PerfAnalyzer, folder: Path, load: Load, instances: int) -> Iterator[Comparison]:
    """Serve an encoder that sleeps."""
    model = folder / "repository" / "face_encoder"
    (model / "1").mkdir(parents=True)
    (model / "1" / "model.py").write_text(SLEEPER)
    (model / "1" / "model.json").write_text("{}")  # what makes it a published encoder
    (model / "config.pbtxt").write_text(SLEEPER_CONFIG.replace("COUNT", str(instances)))
    server = start(StartOptions(folder / "repository", run_dir=folder / ".run"))
    crops = np.random.default_rng(0).integers(0, 256, (8, SIDE_PX, SIDE_PX, 3), np.uint8)
    try:
        yield Comparison(found, server, load, "crops", [crop.tobytes() for crop in crops], folder)
    finally:
        discard(folder / ".run")


@pytest.fixture
def ensemble(found: PerfAnalyzer, work: Path, tmp_path: Path) -> Iterator[Comparison]:
    with random_service(work, "demo-4x192-p32") as server:
        corpus = write_corpus(tmp_path / "corpus", 16, sizes=((640, 480),), faces=(1,))
        yield Comparison(found, server, CLOSED, "images", [picture.path.read_bytes() for picture in corpus], tmp_path)


@pytest.mark.slow
def test_throughput_of_a_model_that_sleeps_agrees_with_perf_analyzers(found: PerfAnalyzer, tmp_path: Path) -> None:
    with sleeping(found, tmp_path, CLOSED, instances=2) as comparison:
        assert_agreement(comparison)


@pytest.mark.slow
def test_latency_of_an_open_loop_agrees_with_perf_analyzers(found: PerfAnalyzer, tmp_path: Path) -> None:
    with sleeping(found, tmp_path, OPEN, instances=8) as comparison:
        assert_agreement(comparison)


@pytest.mark.slow
def test_throughput_and_words_of_the_ensemble_agree_with_perf_analyzers(ensemble: Comparison) -> None:
    ours, printed = assert_agreement(ensemble)
    assert_same_words(console_block(ours), printed)
    assert_same_columns(ours, ensemble.folder)


def assert_agreement(comparison: Comparison) -> tuple[Measurement, str]:
    """Rounds in turn until the medians agree; our last measurement and what perf_analyzer printed last."""
    rates: list[float] = []
    latencies: list[float] = []
    while len(rates) < ROUNDS or (not (agree(rates) and agree(latencies)) and len(rates) < MOST_ROUNDS):
        if len(rates) % 2:
            ours = comparison.measured()
            theirs, printed = comparison.reported()
        else:
            theirs, printed = comparison.reported()
            ours = comparison.measured()
        assert not ours.errors
        rates.append(ours.throughput / theirs.throughput)
        latencies.append(float(np.mean(ours.latencies_us)) / theirs.mean_us)
        log.info("a second: ours %.2f, perf_analyzer's %.2f", ours.throughput, theirs.throughput)
    assert agree(rates), f"throughput, ours / perf_analyzer's in each round: {rates}"
    assert agree(latencies), f"mean latency, ours / perf_analyzer's in each round: {latencies}"
    return ours, printed


def agree(ratios: list[float]) -> bool:
    return abs(median(ratios) - 1) <= AGREEMENT


def assert_same_words(ours: str, theirs: str) -> None:
    """Every line that perf_analyzer prints for a load is in our block, its numbers and the steps' order aside."""
    block = theirs[theirs.index("Request concurrency") : theirs.index("Inferences/Second vs.")]
    assert {words(line) for line in block.splitlines()} <= {words(line) for line in ours.splitlines()}


def words(line: str) -> str:
    return re.sub(r"\d[\d.]*|version: .*", "#", line)


def assert_same_columns(ours: Measurement, folder: Path) -> None:
    """Its CSV begins as ours does, up to the two columns that only it has."""
    write_csv(folder / "ours.csv", [ours])
    header = (folder / "ours.csv").read_text(encoding="utf-8").splitlines()[0]
    theirs = (folder / "o.csv").read_text(encoding="utf-8").splitlines()[0]
    assert theirs.endswith(",request/response,response wait")
    assert header.startswith(theirs.removesuffix(",request/response,response wait") + ",Stable,")


def test_an_image_is_written_with_its_length_before_it(tmp_path: Path) -> None:
    images = [b"abc", b"x" * 300]
    written = json.loads(write_input(tmp_path / "i.json", [image_tensor(image) for image in images]).read_text())
    steps = [base64.b64decode(step["image"]["b64"]) for step in written["data"]]
    assert steps == [b"\x03\x00\x00\x00abc", b"\x2c\x01\x00\x00" + b"x" * 300]


def test_reads_what_perf_analyzer_wrote(tmp_path: Path) -> None:
    (tmp_path / "o.csv").write_text(
        "Concurrency,Inferences/Second,Client Send,Network+Server Send/Recv,Server Queue,Server Compute Input,"
        "Server Compute Infer,Server Compute Output,Client Recv,p50 latency,p90 latency,p95 latency,p99 latency,"
        "Avg latency,request/response,response wait\n"
        "4,3.60121,33,339035,3,809,738474,5892,7,1054927,1374458,1451743,1618229,1084257,40,1084196\n"
    )
    assert parse_csv(tmp_path / "o.csv") == Reported(3.60121, 1084257.0, 1054927.0, 1618229.0)
