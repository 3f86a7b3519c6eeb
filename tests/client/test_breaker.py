"""When a server is left alone, and when it is tried again; on a clock of its own."""

from __future__ import annotations

import pytest

from client.breaker import FAILURES_TO_OPEN, FIRST_PAUSE_S, LONGEST_PAUSE_S, Breaker


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    return Breaker(clock=clock, jitter=lambda: 0.0)


def fail(breaker: Breaker, times: int = FAILURES_TO_OPEN) -> None:
    for _ in range(times):
        breaker.failed(trial=breaker.begin())


def test_opens_after_failures_in_a_row(breaker: Breaker) -> None:
    fail(breaker, FAILURES_TO_OPEN - 1)
    assert breaker.allows
    breaker.answered()
    fail(breaker, FAILURES_TO_OPEN - 1)
    assert breaker.allows
    fail(breaker, 1)
    assert not breaker.allows
    assert breaker.wait_s == FIRST_PAUSE_S


def test_lets_one_request_through_after_its_pause(breaker: Breaker, clock: Clock) -> None:
    fail(breaker)
    clock.now_s += FIRST_PAUSE_S
    assert breaker.allows
    assert breaker.begin()
    assert not breaker.allows
    assert breaker.wait_s == float("inf")


def test_an_answered_trial_closes_it(breaker: Breaker, clock: Clock) -> None:
    fail(breaker)
    clock.now_s += FIRST_PAUSE_S
    assert breaker.begin()
    breaker.answered()
    assert breaker.is_closed
    assert not breaker.begin()
    fail(breaker, FAILURES_TO_OPEN - 1)
    assert breaker.is_closed


def test_every_failed_trial_doubles_the_pause_up_to_the_longest(breaker: Breaker, clock: Clock) -> None:
    fail(breaker)
    pauses = []
    for _ in range(7):
        pauses.append(breaker.wait_s)
        clock.now_s += breaker.wait_s
        fail(breaker, 1)
    assert pauses == [0.5, 1, 2, 4, 8, LONGEST_PAUSE_S, LONGEST_PAUSE_S]
    clock.now_s += breaker.wait_s
    breaker.begin()
    breaker.answered()
    fail(breaker)
    assert breaker.wait_s == FIRST_PAUSE_S


def test_what_was_sent_before_it_opened_neither_prolongs_nor_doubles_the_pause(breaker: Breaker, clock: Clock) -> None:
    sent = [breaker.begin() for _ in range(50)]
    for trial in sent:
        breaker.failed(trial=trial)
        clock.now_s += 0.001
    assert breaker.wait_s == pytest.approx(FIRST_PAUSE_S - 0.046)


def test_an_answer_to_what_was_sent_before_it_opened_closes_it(breaker: Breaker) -> None:
    fail(breaker)
    breaker.answered()
    assert breaker.allows


def test_a_trial_that_its_caller_gave_up_leaves_room_for_another(breaker: Breaker, clock: Clock) -> None:
    fail(breaker)
    clock.now_s += FIRST_PAUSE_S
    breaker.abandoned(trial=breaker.begin())
    assert breaker.allows


def test_pauses_are_drawn_out_by_chance() -> None:
    first, second = (Breaker(clock=lambda: 0.0, jitter=lambda draw=draw: draw) for draw in (0.2, 1.0))
    fail(first)
    fail(second)
    assert first.wait_s == pytest.approx(FIRST_PAUSE_S * 1.05)
    assert second.wait_s == pytest.approx(FIRST_PAUSE_S * 1.25)
