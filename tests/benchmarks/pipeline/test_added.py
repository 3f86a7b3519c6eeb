"""The time that the ensemble adds: the median of pairs by hand, and once against a real server."""

from __future__ import annotations

import json
import statistics
from pathlib import Path

import pytest

from benchmarks.corpus import write_corpus
from benchmarks.pipeline.added import Round, asking, measure_added
from benchmarks.pipeline.costs import Cost
from benchmarks.pipeline.turns import Settings
from benchmarks.random_service import random_service
from lnclip.errors import ServerError
from server.ports import HOST

STAGES = ("decode", "detect", "align", "encode", "verdict")


def test_a_pair_that_something_else_slowed_does_not_count() -> None:
    calm = {stage: Cost(8.0, 9.0) for stage in STAGES}  # 40 ms together
    slow = {stage: Cost(11.0, 9.0) for stage in STAGES}
    assert Round([46.0, 61.0, 99.0], [calm, slow, calm], []).added_ms == 6.0  # of 6, 6 and 59


def test_a_request_that_fails_is_no_sample() -> None:
    with asking(f"{HOST}:1", b"") as ask, pytest.raises(ServerError, match=r":1: StatusCode.UNAVAILABLE"):
        ask()


@pytest.mark.slow
def test_the_pairs_of_a_real_server(work: Path, tmp_path: Path) -> None:
    [picture] = write_corpus(tmp_path / "corpus", 1, sizes=((640, 480),), faces=(1,))
    settings = Settings(rounds=3, pairs=4)
    with random_service(work, "demo-4x192-p32") as server:
        added, way = measure_added(server, picture.path, settings)

    rounds = json.loads(json.dumps(added.details, allow_nan=False))["rounds"]
    assert len(rounds) == len(added.samples) == 3
    for sample, turn in zip(added.samples, rounds, strict=True):
        pairs = list(zip(turn["latencies_ms"], turn["stages_ms"], strict=True))
        assert len(pairs) == 4
        assert sample == statistics.median(latency - stages for latency, stages in pairs)
        of_means = statistics.fmean(turn["latencies_ms"]) - statistics.fmean(turn["stages_ms"])
        hops_ms = [sum(hop.values(), -2 * hop["own_ms"]) for hop in turn["hops"] if hop.pop("where")]
        assert sum(hops_ms) == pytest.approx(of_means), "the hops are of these requests"
    assert [hop.where for hop in way][:5] == [
        "image_decoder", "face_detector", "face_aligner", "face_encoder", "face_verdict",
    ]  # fmt: skip
    assert all(hop.infer_ms > 0 and hop.own_ms > 0 for hop in way[:5])
