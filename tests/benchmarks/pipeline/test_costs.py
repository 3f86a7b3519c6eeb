"""Costs and hops: how times add up, by numbers written by hand."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from benchmarks.pipeline.costs import ONE_REQUEST, SATURATED, Clock, Cost, Spread, StageTime, mean_costs, total
from benchmarks.pipeline.hops import hop_table, hops, median_hops, own_ms
from benchmarks.serving.measured import ModelSplit

COSTS = {
    "decode": Cost(10.0, 9.0),
    "detect": Cost(40.0, 39.0),
    "align": Cost(5.0, 4.0),
    "encode": Cost(20.0, 38.0),
    "encode_batched": Cost(12.0, 23.0),
    "verdict": Cost(0.1, 0.1),
}


def split(name: str, *parts_us: float) -> ModelSplit:
    return ModelSplit(name, 100, 0, 100, 100, *parts_us)


class Found(NamedTuple):
    latency_ms: float
    ensemble: ModelSplit
    steps: list[ModelSplit]


@pytest.fixture
def found() -> Found:
    steps = [
        split("image_decoder", 100, 200, 13_000, 1_500, 200),  # 15 ms
        split("face_detector", 0, 500, 41_000, 500, 0),  # 42
        split("face_aligner", 0, 400, 6_000, 600, 0),  # 7
        split("face_encoder", 50, 50, 20_800, 100, 0),  # 21
        split("face_verdict", 0, 0, 600, 400, 0),  # 1
    ]
    # The five together take 86 ms, the ensemble 88, the caller sees 90.
    return Found(90.0, split("deepfake_detector", 0, 1_150, 81_400, 3_100, 2_350), steps)


def test_one_request_and_a_saturated_server_encode_differently() -> None:
    assert total(COSTS, ONE_REQUEST) == pytest.approx((75.1, 90.1))
    assert total(COSTS, SATURATED) == pytest.approx((67.1, 75.1))


def test_a_stage_tells_median_and_range_of_its_rounds() -> None:
    time = StageTime(stage="align", batch=1.0, samples=[Cost(5.0, 4.0), Cost(9.0, 4.5), Cost(6.0, 3.0)])
    assert time.wall_ms == Spread(6.0, 5.0, 9.0)
    assert time.cpu_ms == Spread(4.0, 3.0, 4.5)


def test_passes_are_averaged_stage_by_stage() -> None:
    faster = {stage: Cost(cost.wall_ms - 0.1, cost.cpu_ms / 2) for stage, cost in COSTS.items()}
    assert mean_costs([COSTS, faster])["detect"] == pytest.approx((39.95, 29.25))


def test_the_clock_adds_up_and_divides_by_the_images(monkeypatch: pytest.MonkeyPatch) -> None:
    walls, cpus = iter([10.0, 10.5, 20.0, 20.3]), iter([1.0, 1.9, 5.0, 5.5])
    monkeypatch.setattr("benchmarks.pipeline.costs.time.perf_counter", lambda: next(walls))
    monkeypatch.setattr("benchmarks.pipeline.costs.time.process_time", lambda: next(cpus))
    clock = Clock()
    for _ in range(2):
        with clock.runs("decode"):
            pass
    assert clock.cost("decode", 4) == pytest.approx((200.0, 350.0))


def test_hops_show_what_each_part_of_the_way_adds(found: Found) -> None:
    way = hops(*found, COSTS)
    assert [(hop.where, round(hop.added_ms, 6)) for hop in way] == [
        ("image_decoder", 5.0),
        ("face_detector", 2.0),
        ("face_aligner", 2.0),
        ("face_encoder", 1.0),
        ("face_verdict", 0.9),
        ("between the steps", 2.0),
        ("client and transport", 2.0),
    ]


def test_hops_add_up_to_the_latency_less_the_stages_own_time(found: Found) -> None:
    assert sum(hop.added_ms for hop in hops(*found, COSTS)) == pytest.approx(90.0 - own_ms(COSTS))


def test_a_hop_is_the_median_of_its_rounds(found: Found) -> None:
    rounds = [[hop._replace(infer_ms=hop.infer_ms * factor) for hop in hops(*found, COSTS)] for factor in (1, 9, 2)]
    decoder = median_hops(rounds)[0]
    assert (decoder.where, decoder.infer_ms, decoder.own_ms) == ("image_decoder", 26.0, 10.0)


def test_the_table_of_hops_ends_with_their_sum(found: Found) -> None:
    *_, last = hop_table(hops(*found, COSTS)).splitlines()
    where, *_, added = (cell.strip() for cell in last.strip("|").split("|"))
    assert (where, added) == ("together", "14.90")
