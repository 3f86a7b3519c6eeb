"""What a request to Triton may cost, and what its failure means.

tritonclient retries nothing. Here UNAVAILABLE (refused, restarting, a full queue), CANCELLED (a server
that shuts down), RESOURCE_EXHAUSTED (a proxy's limit), NOT_FOUND (the model is being reloaded: it was
there at the beginning) and a deadline that passed are tried again; a request that is itself wrong and a
model that fails are not: they would only add load. ``servers`` does the trying.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass

from tritonclient.utils import InferenceServerException

from client.rows import RowError
from lnclip.errors import ServerError

AWAY = frozenset(("unavailable", "cancelled", "not_found", "deadline_exceeded"))
"""Failures that speak of the server rather than of the request."""

RETRYABLE = AWAY | {"resource_exhausted"}
FULL_QUEUE = "Exceeds maximum queue size"
"""Triton's words for an UNAVAILABLE of a server that is well, and busy. Source: core/src/scheduler_utils.cc."""

Parameters = Mapping[str, int | float | str]


@dataclass(frozen=True, kw_only=True)
class CallPolicy:
    """How long one file may take."""

    timeout_s: float = 60.0
    """Deadline of one attempt. All attempts of a request together, pauses included, end within twice that."""

    retries: int = 6
    """After the first attempt, on whichever server."""

    patience_s: float = 120.0
    """While no server answers, requests wait that long for one to come back, counted from the first
    failure; it costs them no retries. Then they fail at once, until one does. A restart with a large
    model takes a minute."""

    first_pause_s: float = 0.25
    """Before a retry when every server was tried; doubled from pause to pause up to the next, with a random
    part of up to ``first_pause_s`` added."""

    longest_pause_s: float = 5.0

    budget: float = 200.0
    """Retries that may be spent before any success; see ``RetryBudget``. Less than ``retries`` for each
    request in flight would give up before one of them has had its own."""

    def pause_s(self, rounds: int) -> float:
        """Before a retry, after so many rounds over all servers; a part of it is random, to spread the load."""
        grown_s: float = min(self.first_pause_s * 2**rounds, self.longest_pause_s)
        return grown_s + random.uniform(0, self.first_pause_s)  # noqa: S311


class RetryBudget:
    """Retries shared by all files: servers that fail every other request must not get twice as many.

    Source: gRPC proposal A6, retry throttling: a retry takes one token, a success brings back a tenth.
    """

    def __init__(self, tokens: float) -> None:
        self._full = self._tokens = tokens

    def take(self) -> bool:
        """Whether one more retry may be made."""
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def refill(self) -> None:
        """A request went through."""
        self._tokens = min(self._full, self._tokens + 0.1)

    def close(self) -> None:
        """No retries from now on."""
        self._full = self._tokens = 0


class CallError(ServerError):
    """A request that got no answer; what a row says about it is ``error``."""

    def __init__(self, error: RowError, *, retryable: bool, is_away: bool = False) -> None:
        """``is_away``: it is the server that does not answer; another request would fare no better."""
        super().__init__(f"{error.code}: {error.message}")
        self.error = error
        self.retryable = retryable
        self.is_away = is_away


def explain(error: InferenceServerException, timeout_s: float) -> CallError:
    """What Triton or gRPC said, as a row's error.

    Triton puts "in ensemble 'NAME', " before a step's message. An image that cannot be read is
    INVALID_ARGUMENT with ``code: reason`` (``lnclip.errors.ImageError``).
    """
    status = (error.status() or "unknown").removeprefix("StatusCode.").lower()
    message = re.sub(r"^in ensemble '[^']*', ", "", error.message() or "no reason was given")
    if status == "invalid_argument" and (coded := re.match(r"([a-z][a-z0-9_]*): (.*)$", message, re.DOTALL)):
        return CallError(RowError(code=coded[1], message=coded[2]), retryable=False)
    if status == "deadline_exceeded":
        message = f"no answer within {timeout_s:.3g} s"
    too_large = status == "resource_exhausted" and "larger than max" in message
    return CallError(
        RowError(code=status, message=message),
        retryable=status in RETRYABLE and not too_large,
        is_away=status in AWAY and FULL_QUEUE not in message,
    )
