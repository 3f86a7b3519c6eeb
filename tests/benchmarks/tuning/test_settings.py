"""The steps of the search, and how settings become a tuned.json and come back."""

import pytest

from benchmarks.tuning.settings import Bounds, Settings, as_tuning, change, knobs, ladder, read_settings, step
from server.repository import SOURCE, init_repository
from server.tuned import FILE, ModelTuning, Tuned

BOUNDS = Bounds(cores=8, max_batch=64, latency_limit_ms=10.0)
SHIPPED = Settings(2, 2, 2, 1, None, 0, None, None, 4)


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("detector_instances", [1, 2, 3, 4, 6, 8, 12, 16]),
        ("encoder_instances", [1, 2, 3, 4, 6, 8]),
        ("encoder_batch", [1, 2, 4, 8, 16, 32, None]),
        ("queue_delay_us", [0, 500, 1000, 2000, 5000]),
        ("threads", [1, 2, 3, 4, 6, None]),
        ("streams", [None, 2, 4, 8]),
        ("concurrency", [1, 2, 4, 8, 16, 32, 64, 128]),
    ],
)
def test_a_ladder_has_the_values_that_make_sense_on_the_machine(field, expected):
    assert list(ladder(field, BOUNDS)) == expected


def test_one_core_leaves_nothing_to_turn_in_the_engine():
    alone = Bounds(cores=1, max_batch=1, latency_limit_ms=10.0)
    assert list(ladder("threads", alone)) == [None]
    assert list(ladder("streams", alone)) == [None]
    assert list(ladder("encoder_batch", alone)) == [None]
    assert step(SHIPPED, "threads", -1, alone) is None


@pytest.mark.parametrize(
    ("field", "value", "up", "down"),
    [
        ("detector_instances", 2, 3, 1),
        ("detector_instances", 16, "end", 12),
        ("detector_instances", 5, 6, 4),
        ("detector_instances", 100, "end", 16),
        ("encoder_batch", None, "end", 32),
        ("encoder_batch", 24, 32, 16),
        ("streams", None, 2, "end"),
        ("threads", None, "end", 6),
        ("threads", 5, 6, 4),
        ("queue_delay_us", 700, 1000, 500),
    ],
)
def test_a_step_goes_to_the_next_rung_or_ends(field, value, up, down):
    here = SHIPPED._replace(**{field: value})
    for direction, expected in ((1, up), (-1, down)):
        found = step(here, field, direction, BOUNDS)
        assert found == (None if expected == "end" else here._replace(**{field: expected}))


def test_more_streams_come_with_the_requests_that_keep_them_busy():
    """With two in flight every batch is one crop, which leaves the second stream without work."""
    idle, busy = SHIPPED._replace(concurrency=2), SHIPPED._replace(streams=3, concurrency=64)
    assert step(idle, "streams", 1, BOUNDS) == idle._replace(streams=2, concurrency=4)
    assert step(busy, "streams", 1, BOUNDS) == busy._replace(streams=4)
    assert step(busy, "streams", -1, BOUNDS) == busy._replace(streams=2)


def test_crops_turn_the_encoder_s_knobs_alone_and_an_old_adapter_no_threads():
    assert {knob.model for knob in knobs("crops")} == {"face_encoder", ""}
    assert len(knobs("images")) == len(Settings._fields)
    assert {knob.field for knob in knobs("crops", has_threads=False)} == {
        "encoder_instances",
        "encoder_batch",
        "queue_delay_us",
        "concurrency",
    }


def test_committed_configs_leave_the_engine_and_the_batch_alone():
    """``None`` in tuned.json means "as committed", so the committed value must be the default that None stands for."""
    found = read_settings(SOURCE)
    assert (found.threads, found.streams, found.encoder_batch) == (None, None, None)


def test_settings_go_through_tuned_json_and_come_back_from_the_served_configs(tmp_path):
    committed = read_settings(SOURCE, concurrency=8)
    wanted = Settings(3, 4, 1, 2, 16, 500, 2, 2, 8)
    tuned = Tuned(record="r.json", processor="p", cores=1, models=as_tuning(wanted, committed))
    (tmp_path / FILE).write_text(tuned.text())
    init_repository(tmp_path)
    assert read_settings(tmp_path, concurrency=8) == wanted
    assert as_tuning(committed, committed) == {}
    assert as_tuning(committed._replace(streams=2), committed) == {"face_encoder": ModelTuning(streams=2)}


def test_a_change_is_told_in_words():
    assert change(SHIPPED, SHIPPED._replace(streams=2)) == "encoder streams default -> 2"
    assert change(SHIPPED, SHIPPED) == "nothing"
