"""The search on a made-up machine whose best settings are known."""

import math
import time

import pytest

from benchmarks.tuning.comparing import Sample
from benchmarks.tuning.descent import Search, UnmeasurableError
from benchmarks.tuning.run import fastest, find
from benchmarks.tuning.settings import Bounds, Settings, knobs

BOUNDS = Bounds(cores=8, max_batch=64, latency_limit_ms=100.0)
START = Settings(2, 2, 2, 1, None, 0, None, None, 4)
BEST = {"detector_instances": 6, "streams": 4}


class Machine:
    """Throughput falls by 20 % with every doubling away from the best; so many requests saturate it.

    Two requests in flight keep one stream busy.
    """

    def __init__(self, saturates_at: int = 4, broken: Settings | None = None) -> None:
        self.saturates_at, self.broken = saturates_at, broken
        self.measured: list[Settings] = []
        self.kept: list[Settings] = []

    def measure(self, settings: Settings) -> Sample:
        self.measured.append(settings)
        if settings == self.broken:
            raise UnmeasurableError(settings, "face_detector did not load")
        busy = settings._replace(streams=min(settings.streams or 1, max(1, settings.concurrency // 2)))
        away = sum(abs(math.log2(getattr(busy, field) / best)) for field, best in BEST.items())
        rate = 100.0 * 0.8**away * min(settings.concurrency, self.saturates_at) / self.saturates_at
        return Sample(rate, settings.concurrency / rate * 1000, rate, 1.0, 0, True)

    def keep(self, settings: Settings) -> None:
        self.kept.append(settings)


def search(machine: Machine, *, seconds: float = 60.0, rounds: int = 3) -> Search:
    return Search(
        measure=machine.measure,
        when_decided=machine.keep,
        bounds=BOUNDS,
        rounds=rounds,
        deadline_s=time.monotonic() + seconds,
    )


def test_the_best_settings_are_found_and_what_does_not_matter_stays():
    machine = Machine()
    found = search(machine).descend(START, knobs("images"))
    assert found == START._replace(**BEST, concurrency=8)


def test_every_candidate_is_measured_against_the_incumbent_in_turn():
    machine = Machine()
    trial = search(machine).compare(START._replace(streams=2), START)
    other = START._replace(streams=2)
    assert machine.measured == [START, other, other, START, START, other]
    assert trial.accepted
    assert [pair.candidate.images_per_s > pair.incumbent.images_per_s for pair in trial.pairs] == [True] * 3


def test_a_loser_costs_two_rounds_and_is_not_tried_again():
    machine = Machine()
    found = search(machine, rounds=5)
    found.descend(START._replace(**BEST, concurrency=8), knobs("images"))
    assert {len(trial.pairs) for trial in found.trials} == {2}
    tried = [trial.candidate for trial in found.trials]
    assert len(tried) == len(set(tried))


def test_a_candidate_that_does_not_start_is_a_row_with_its_reason():
    broken = START._replace(detector_instances=3)
    found = search(Machine(broken=broken))
    found.descend(START, knobs("images")[:1])
    [row] = [trial for trial in found.trials if trial.candidate == broken]
    assert (row.accepted, row.reason, row.pairs) == (False, "face_detector did not load", [])


def test_an_incumbent_that_does_not_start_is_an_error():
    with pytest.raises(UnmeasurableError, match="did not load"):
        search(Machine(broken=START)).compare(START._replace(streams=2), START)


def test_nothing_is_tried_when_the_time_is_up_and_half_a_comparison_decides_nothing():
    machine = Machine()
    late = search(machine, seconds=-1.0)
    assert late.descend(START, knobs("images")) == START
    assert late.compare(START._replace(streams=2), START).reason == "no time left"
    assert machine.measured == []
    assert late.compare(START._replace(streams=2), START, in_time=False).accepted


def test_other_servers_go_after_every_decision():
    machine = Machine()
    found = search(machine)
    final = found.descend(START, knobs("images"))
    assert len(machine.kept) == len(found.trials)
    assert machine.kept[-1] == final


def test_the_load_rises_until_it_brings_no_more():
    found = search(Machine(saturates_at=8))
    found.bounds = BOUNDS._replace(latency_limit_ms=1000.0)
    loads = found.best_load(START)
    assert [load.concurrency for load, _ in loads] == [1, 2, 4, 8, 16]
    assert fastest(loads, 1000.0).concurrency == 8
    assert fastest(loads, 0.001).concurrency == 1, "where no load keeps the limit, the smallest"


def test_the_load_rises_no_further_than_the_latency_allows():
    found = search(Machine(saturates_at=8))
    found.bounds = BOUNDS._replace(latency_limit_ms=1.0)
    assert [load.concurrency for load, _ in found.best_load(START)] == [1]


class Noisy(Machine):
    """Whoever is measured second is 10 % faster, and rounds with an even number are what most are."""

    def measure(self, settings: Settings) -> Sample:
        second = len(self.measured) % 2
        found = super().measure(settings)
        return found._replace(images_per_s=found.images_per_s * (1 + 0.1 * second))


def test_a_gain_must_exceed_what_the_same_settings_show_against_themselves():
    found = search(Noisy())
    assert found.noise(START).reason == "shows 10.0% where there is nothing"
    assert found.min_gain == pytest.approx(0.1)
    assert found.compare(START._replace(aligner_instances=3), START).accepted is False


def test_the_winner_is_held_to_the_settings_before_once_more():
    machine = Machine()

    class Services:
        measure = staticmethod(machine.measure)
        stopped = 0

        def keep(self) -> None:
            self.stopped += 1

    services = Services()
    found = find(services, search(machine), knobs("images"), START)
    assert found.final.accepted
    assert found.final.incumbent == START
    assert found.tuned == START._replace(**BEST, concurrency=8)
    assert found.trials[-1] is found.final
    assert services.stopped == 1
    assert found.ratio == pytest.approx(0.8 ** -(math.log2(3) + 2))
    assert find(services, search(machine), knobs("images")[1:3], START).ratio == 1.0
