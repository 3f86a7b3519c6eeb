"""How long servers may be away before files stop waiting for one."""

from __future__ import annotations

import logging

from client.calling import CallError
from client.rows import RowError

log = logging.getLogger(__name__)


class Patience:
    """Counted from the first failure since any server's last answer. Times are an event loop's, seconds."""

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self._trouble_since_s: float | None = None
        self._last_reason = RowError(code="unavailable", message="no server answers")
        self._is_over = False

    def failed(self, reason: RowError, now_s: float) -> None:
        """A server did not answer."""
        self._last_reason = reason
        self._trouble_since_s = self._trouble_since_s or now_s

    def answered(self) -> None:
        """One did."""
        self._trouble_since_s = None
        self._is_over = False

    def left_s(self, now_s: float) -> float:
        """Until files stop waiting; not above 0 when they have."""
        return (self._trouble_since_s or now_s) + self._patience_s - now_s

    def refusal(self, *, is_over: bool) -> CallError:
        """What a file that waited is told: the last reason of any; ``is_over`` is said in the log, once."""
        if is_over and not self._is_over:
            self._is_over = True
            log.error("no server has answered for %g s: until one does, files fail at once", self._patience_s)
        return CallError(self._last_reason, retryable=True, is_away=True)
