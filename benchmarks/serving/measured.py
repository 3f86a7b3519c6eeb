"""What a load test of a server yields, whoever produces or prints it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Load(NamedTuple):
    """How requests come: closed loop (so many outstanding) or open loop (so many a second)."""

    kind: Literal["concurrency", "request_rate"]
    value: float
    """Requests outstanding, or intended starts per second (Poisson)."""


class Exchange(NamedTuple):
    """One request and its answer; times of time.monotonic, seconds."""

    intended_s: float
    """When it should have been sent; in a closed loop when it was."""

    sent_s: float
    answered_s: float
    marshal_s: float
    """Of its latency: making the request and reading the answer, client side."""

    num_faces: int
    """-1 without an answer."""

    error: str
    """Row-style code, e.g. unavailable; empty when answered."""


class ModelSplit(NamedTuple):
    """One model's part, from the difference of two readings of Triton's statistics extension."""

    name: str
    requests: int
    """Successful ones."""

    failures: int
    inferences: int
    executions: int
    """Mean batch = inferences / executions."""

    queue_us: float
    """This and what follows: mean per successful request."""

    compute_input_us: float
    compute_infer_us: float
    compute_output_us: float
    overhead_us: float
    """Request time that is none of the above."""


class Window(NamedTuple):
    """One measurement window, summed up for the stability rule."""

    duration_s: float
    completed: int
    latency_us: float
    """Mean, or the percentile that was asked for."""


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One load, merged over its stable windows."""

    load: Load
    is_stable: bool
    windows: list[Window]
    """All of them, the unstable first ones too."""

    duration_s: float
    """Of the merged windows; so with everything below."""

    latencies_us: Floats
    """(R,) of answered requests, from their intended start, in order of completion."""

    answered_s: Floats
    """(R,) when each of them was answered, ascending; time.monotonic, seconds."""

    marshal_us: float
    """Mean."""

    faces: int
    errors: Mapping[str, int]
    """Failed requests by code; ``unavailable`` is a reject."""

    delayed_share: float
    """Open loop: requests sent more than a millisecond after their intended start."""

    client_cores: float
    """CPU seconds of the load generator, all its processes, per second."""

    server_cores: float
    """The same of tritonserver and its stubs; NaN where its process is not known."""

    model: ModelSplit
    """Of the model that was called."""

    steps: list[ModelSplit]
    """Of an ensemble, in the order of its steps; else empty."""

    @property
    def throughput(self) -> float:
        """Answered requests per second."""
        return len(self.latencies_us) / self.duration_s
