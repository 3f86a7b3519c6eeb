"""Where one request's time goes on its way through the ensemble, beside what the models compute themselves.

Triton's statistics say how long a request waited for a model, how long its tensors took in and out and how long the
model had it; the same work in this process, without Triton, says how much of the last was work.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from benchmarks.pipeline.costs import ONE_REQUEST, Cost, Stage
from benchmarks.records import table
from benchmarks.serving.measured import ModelSplit

STEPS: Mapping[str, Stage] = {
    "image_decoder": "decode",
    "face_detector": "detect",
    "face_aligner": "align",
    "face_encoder": "encode",
    "face_verdict": "verdict",
}
"""The models of the ensemble, and what each of them computes."""


class Hop(NamedTuple):
    """One part of a request's way; milliseconds, means over the requests."""

    where: str
    own_ms: float
    """What the same work takes in a process without Triton."""

    queue_ms: float
    input_ms: float
    """Triton gathers the tensors."""

    infer_ms: float
    """The model has them: with the Python backend the way to its process and back too."""

    output_ms: float
    other_ms: float
    """Of the request, and none of the above."""

    @property
    def added_ms(self) -> float:
        """Beyond the work itself."""
        return self.queue_ms + self.input_ms + self.infer_ms + self.output_ms + self.other_ms - self.own_ms


def hops(latency_ms: float, ensemble: ModelSplit, steps: Sequence[ModelSplit], own: Mapping[Stage, Cost]) -> list[Hop]:
    """Every step of the ensemble, then Triton between the steps, then client and transport.

    Their ``added_ms`` add up to the mean latency less the sum of the stages' own time:
    between the steps = the ensemble's request time - the sum of its steps' request times,
    client and transport = mean latency - the ensemble's request time.
    Both can be negative: Triton books a request when its answer is on its way already, and the next part has begun.

    Args:
        latency_ms: mean, of one request in flight.
        ensemble: the server's statistics of these requests.
        steps: the same of its models, in their order.
        own: of the same image, in this process.
    """
    way = [
        Hop(
            step.name,
            own[STEPS[step.name]].wall_ms,
            step.queue_us / 1000,
            step.compute_input_us / 1000,
            step.compute_infer_us / 1000,
            step.compute_output_us / 1000,
            step.overhead_us / 1000,
        )
        for step in steps
    ]
    ensemble_ms = _request_ms(ensemble)
    between_ms = ensemble_ms - sum(map(_request_ms, steps))
    return [
        *way,
        Hop("between the steps", 0.0, 0.0, 0.0, 0.0, 0.0, between_ms),
        Hop("client and transport", 0.0, 0.0, 0.0, 0.0, 0.0, latency_ms - ensemble_ms),
    ]


def median_hops(rounds: Sequence[Sequence[Hop]]) -> list[Hop]:
    """Every figure's median over the rounds; the medians need not add up as one round's figures do."""
    merged = []
    for found in zip(*rounds, strict=True):
        numbers = zip(*(hop[1:] for hop in found), strict=True)
        merged.append(Hop(found[0].where, *(statistics.median(values) for values in numbers)))
    return merged


def hop_table(found: Sequence[Hop]) -> str:
    """What each part of the way adds, and where."""
    columns = ("ms", "its own work", "queue", "tensors in", "model has it", "tensors out", "other", "added")
    rows = [(hop.where, *(f"{value:.2f}" for value in (*hop[1:], hop.added_ms))) for hop in found]
    sums = [sum(values) for values in zip(*((*hop[1:], hop.added_ms) for hop in found), strict=True)]
    return table(columns, [*rows, ("together", *(f"{value:.2f}" for value in sums))])


def own_ms(costs: Mapping[Stage, Cost]) -> float:
    """Wall time of one image through all the stages, one request at a time."""
    return sum(costs[stage].wall_ms for stage in ONE_REQUEST)


def _request_ms(split: ModelSplit) -> float:
    """Mean time of a request to one model, from its arrival there to its answer."""
    parts = (split.queue_us, split.compute_input_us, split.compute_infer_us, split.compute_output_us, split.overhead_us)
    return sum(parts) / 1000
