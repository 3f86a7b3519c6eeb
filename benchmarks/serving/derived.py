"""What follows from a measurement: the figures that its console block, its CSV and its table share."""

from __future__ import annotations

import numpy as np

from benchmarks.serving.measured import Floats, Measurement, ModelSplit
from lnclip.contract import ENCODER


def percentile(latencies_us: Floats, percent: float) -> float:
    """The latency at a percentile, one that was measured: the nearest rank, halves up; NaN of none.

    Source: perf_analyzer's SummarizeLatency, ``index = (percentile / 100.0) * (size - 1) + 0.5``.
    """
    if len(latencies_us) == 0:
        return float("nan")
    return float(np.sort(latencies_us)[int(percent / 100 * (len(latencies_us) - 1) + 0.5)])


def mean_batch(split: ModelSplit) -> float:
    """Rows that a model computed at once, on average; 0 when it never ran."""
    return split.inferences / split.executions if split.executions else 0.0


def encoder_split(measurement: Measurement) -> ModelSplit | None:
    """The encoder's part, whether it was called itself or by the ensemble."""
    return next((split for split in (measurement.model, *measurement.steps) if split.name == ENCODER), None)


def rejected(measurement: Measurement) -> int:
    """Requests that the server refused: its queue was full, or it was not there."""
    return measurement.errors.get("unavailable", 0)


def failed(measurement: Measurement) -> int:
    """All requests without an answer but the rejected ones."""
    return sum(measurement.errors.values()) - rejected(measurement)


def compute_us(split: ModelSplit) -> float:
    """Mean time in the model's backend, tensors in and out included."""
    return split.compute_input_us + split.compute_infer_us + split.compute_output_us


def request_us(split: ModelSplit) -> float:
    """Mean time from a request's arrival at the model to its answer."""
    return split.overhead_us + split.queue_us + compute_us(split)


def mean_us(latencies_us: Floats) -> float:
    """0 of none, as everything that was not measured."""
    return float(np.mean(latencies_us)) if len(latencies_us) else 0.0
