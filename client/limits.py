"""How many requests may be in flight: a number, or as many as pay off.

By Little's law a server with c stations of s seconds each is busy with c requests in flight; more only
wait in its queue. ``Limit.auto`` looks for that knee from outside: it raises the limit while completions
per second rise, steps back when they do not, holds, and looks again.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Literal

log = logging.getLogger(__name__)

START = 4
LARGEST = 256
FACTOR = 1.5
"""From one limit to the next."""

WORTH = 1.05
"""A rise of completions/s below this is none; a server with free stations gives far more."""

FULL = 0.75
"""Share of the limit that must have been in flight for a window to say anything of it."""

HOLD_WINDOWS = 10
"""At the knee, before the next look around."""

WINDOW_S = 0.5
WINDOW_COMPLETIONS = 64
COMPLETIONS_PER_PLACE = 4
"""A window lasts until all three are reached: fewer completions would measure chance."""


class Climb:
    """Which limit to try next, given completions/s at the present one. Pure."""

    def __init__(self) -> None:
        self.value = START
        self._doing: Literal["begin", "up", "down", "hold"] = "begin"
        self._base, self._base_rate = START, 0.0
        """The limit that is known to pay off."""

        self._windows_left = 0

    def after_window(self, rate: float) -> int:
        """The next limit.

        Args:
            rate: completions/s of a window in which about so many were in flight.
        """
        match self._doing:
            case "hold":
                self._hold(rate)
            case "down" if rate * WORTH >= self._base_rate:
                self._settle(self.value)
            case "down":
                self._settle(self._base)
            case "up" if rate < self._base_rate * WORTH:
                self._look_down()
            case "begin" | "up":
                self._look_up(rate)
        return self.value

    def _hold(self, rate: float) -> None:
        self._windows_left -= 1
        if self._windows_left <= 0:
            self._look_up(rate)

    def _look_up(self, rate: float) -> None:
        self._base, self._base_rate = self.value, rate
        if self.value == LARGEST:
            self._look_down()
            return
        self._doing, self.value = "up", min(LARGEST, math.ceil(self.value * FACTOR))

    def _look_down(self) -> None:
        self._doing, self.value = "down", max(1, math.floor(self._base / FACTOR))

    def _settle(self, value: int) -> None:
        self._doing, self.value, self._windows_left = "hold", value, HOLD_WINDOWS


class Limit:
    """Places for requests in flight, first come, first served: ``async with limit: ...``."""

    def __init__(self, value: int, *, climb: Climb | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        """``value`` places; with ``climb`` it changes them. ``clock``: seconds."""
        self.value = value
        self.in_flight = 0
        self._climb = climb
        self._clock = clock
        self._waiting: deque[asyncio.Future[None]] = deque()
        self.restart_window()

    @classmethod
    def auto(cls, *, clock: Callable[[], float] = time.monotonic) -> Limit:
        """Finds its own number, between 1 and ``LARGEST``."""
        climb = Climb()
        return cls(climb.value, climb=climb, clock=clock)

    async def __aenter__(self) -> None:
        """Wait for a place."""
        if self.in_flight < self.value and not self._waiting:
            self._take_place()
            return
        place = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():  # it was given one just before
                self._leave()
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Leave it; without an error it is a completion."""
        if self._climb is not None and error is None:
            self._count(self._climb)
        self._leave()

    def restart_window(self) -> None:
        """What was counted so far tells nothing: there was no server, say."""
        self._completions = -self.value  # those that began before do not count
        self._since_s = self._clock()
        self._was_full = False

    def _take_place(self) -> None:
        self.in_flight += 1
        self._was_full |= self.in_flight >= FULL * self.value

    def _leave(self) -> None:
        self.in_flight -= 1
        while self._waiting and self.in_flight < self.value:
            place = self._waiting.popleft()
            if not place.done():  # whoever waited was not cancelled meanwhile
                place.set_result(None)
                self._take_place()

    def _count(self, climb: Climb) -> None:
        self._completions += 1
        if self._completions == 0:
            self._since_s = self._clock()
        elapsed_s = self._clock() - self._since_s
        if self._completions < max(WINDOW_COMPLETIONS, COMPLETIONS_PER_PLACE * self.value) or elapsed_s < WINDOW_S:
            return
        if self._was_full:  # else there was too little to do to say anything
            rate, before = self._completions / elapsed_s, self.value
            self.value = climb.after_window(rate)
            log.debug("%.1f a second with %d in flight; next: %d", rate, before, self.value)
        self.restart_window()
