"""A circuit breaker: a server that keeps failing is left alone for a while, then tried with one request.

closed     every request may go
open       none may, for a pause
half-open  the pause is over: one request, the trial, may go; its end closes or opens it again

Pure state; what counts as a failure of the server is the caller's to say (``calling.explain``).
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable

FAILURES_TO_OPEN = 5
"""In a row: one lost request says little."""

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 10.0
"""A refused trial costs next to nothing, and after a restart this is the most that is lost."""


class Breaker:
    """Of one server."""

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """Closed.

        Args:
            clock: seconds.
            jitter: 0..1; a pause is drawn out by up to a quarter, so that many clients do not return at once.
        """
        self._clock = clock
        self._jitter = jitter
        self._failures = 0
        self._open_until_s: float | None = None
        self._next_pause_s = FIRST_PAUSE_S
        self._on_trial = False

    @property
    def is_closed(self) -> bool:
        """Whether the server is taken to be well."""
        return self._open_until_s is None

    @property
    def allows(self) -> bool:
        """Whether a request may be sent now."""
        return self._open_until_s is None or self.wait_s == 0

    @property
    def wait_s(self) -> float:
        """Until one may be sent; infinite while a trial is on its way."""
        if self._open_until_s is None:
            return 0.0
        if self._on_trial:
            return float("inf")
        return max(0.0, self._open_until_s - self._clock())

    def begin(self) -> bool:
        """A request is sent, which ``allows`` permitted; whether it is a trial."""
        self._on_trial = not self.is_closed
        return self._on_trial

    def answered(self) -> None:
        """The server answered a request, whichever: it is well."""
        self._failures = 0
        self._open_until_s = None
        self._next_pause_s = FIRST_PAUSE_S
        self._on_trial = False

    def failed(self, *, trial: bool) -> None:
        """A request failed in a way that speaks of the server.

        Of an open breaker only the trial counts: what was sent before it opened tells nothing new.
        """
        self._failures += 1
        if self._failures >= FAILURES_TO_OPEN if self.is_closed else trial:
            self.trip()

    def abandoned(self, *, trial: bool) -> None:
        """The caller gave a request up; it says nothing of the server."""
        if trial:
            self._on_trial = False

    def trip(self) -> None:
        """Open, or open again for twice as long."""
        self._on_trial = False
        self._open_until_s = self._clock() + self._next_pause_s * (1 + self._jitter() / 4)
        self._next_pause_s = min(2 * self._next_pause_s, LONGEST_PAUSE_S)
