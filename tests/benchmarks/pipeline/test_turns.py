"""Turns: who goes first, and what the engine alone is credited with."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.pipeline import turns
from benchmarks.pipeline.turns import (
    Settings,
    alone_per_s,
    described,
    encoder_batch,
    in_turn,
    saturate,
    steady_per_s,
    under_load,
)
from benchmarks.serving.measured import Load, Measurement, ModelSplit
from benchmarks.serving.measuring import Target
from lnclip.errors import ServerError

TARGET = Target(grpc_url="localhost:1", http_url="localhost:2", pid=None, mode="crops")


def measurement(per_s: float, errors: dict[str, int] | None = None) -> Measurement:
    encoder = ModelSplit("face_encoder", 10, 0, 60, 8, 0, 0, 0, 0, 0)
    return Measurement(
        load=Load("concurrency", 1), is_stable=False, windows=[], duration_s=2.0,
        latencies_us=np.full(int(2 * per_s), 3000.0),
        answered_s=np.linspace(0, 2, int(2 * per_s)), marshal_us=0.0, faces=7, errors=errors or {},
        delayed_share=0.0, client_cores=0.1, server_cores=1.5, model=encoder, steps=[],
    )  # fmt: skip


def test_who_goes_first_changes_with_every_round() -> None:
    order: list[str] = []

    def act(name: str) -> int:
        order.append(name)
        return len(order)

    assert in_turn(3, lambda: act("a"), lambda: act("b")) == [(1, 2), (4, 3), (5, 6)]
    assert "".join(order) == "abbaab"


def test_the_engine_alone_gets_its_whole_batches_and_no_credit_for_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    class Runner:
        seen: list[list[int]] = []  # noqa: RUF012

        def run(self, crops: np.ndarray) -> None:
            self.seen.append(crops[:, 0, 0, 0].tolist())

    crops = np.arange(3, dtype=np.uint8).reshape(3, 1, 1, 1).repeat(3, axis=3)
    ticks = iter([0.0, 0.1, 0.2, 0.3, 0.4, 0.5])
    monkeypatch.setattr("benchmarks.pipeline.turns.time.perf_counter", lambda: next(ticks))
    rate = alone_per_s(Runner(), crops, 2, 0.35)
    assert rate == pytest.approx(3 * 2 / 0.4)
    assert Runner.seen == [[0, 1], [0, 1], [2, 0], [0, 1]]


def test_saturation_is_where_the_throughput_is_highest(monkeypatch: pytest.MonkeyPatch) -> None:
    rates = {4: 10.0, 8: 16.0, 16: 15.0}
    monkeypatch.setattr(turns, "measure", lambda target, load, payloads, windowing: measurement(rates[load.value]))
    tried = saturate(TARGET, [b""], Settings(concurrencies=tuple(rates)))
    assert [load.value for load in tried] == [8, 16, 4]


@pytest.mark.parametrize("answered", [measurement(5.0, {"unavailable": 2}), measurement(0.0)])
def test_a_throughput_with_failures_is_none(monkeypatch: pytest.MonkeyPatch, answered: Measurement) -> None:
    monkeypatch.setattr(turns, "measure", lambda *_: answered)
    with pytest.raises(ServerError, match="localhost:1 answered"):
        under_load(TARGET, Load("concurrency", 1), [b""], Settings())


def test_a_burst_more_or_less_at_a_windows_edge_changes_no_rate() -> None:
    """Batches of 4 every 2 s are 2 a second, wherever the window begins and ends."""
    for bursts in (6, 7):
        answered_s = np.repeat(2.0 * np.arange(bursts), 4) + np.tile([0.0, 0.001, 0.002, 0.003], bursts)
        found = replace(measurement(5.0), answered_s=answered_s, latencies_us=answered_s, duration_s=12.5)
        assert steady_per_s(found, 8) == pytest.approx(2.0)
    assert found.throughput == pytest.approx(28 / 12.5)


def test_answers_that_fill_no_cycle_count_over_the_window() -> None:
    assert steady_per_s(measurement(5.0), 16) == 5.0


def test_the_mean_batch_is_crops_over_executions() -> None:
    assert encoder_batch(measurement(5.0)) == 7.5


def test_a_record_tells_the_servers_cpu_time_of_one_request() -> None:
    kept = described(measurement(5.0))
    assert kept["server_cpu_ms"] == pytest.approx(300.0)
    assert (kept["p50_ms"], kept["is_stable"], kept["answered"]) == (3.0, False, 10)
