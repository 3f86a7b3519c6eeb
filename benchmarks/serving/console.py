"""Measurements as perf_analyzer prints and writes them, and what it has no word for in lines of our own.

Who knows its output reads ours, and spreadsheets made for its CSV take ours. Its arithmetic is kept with it:
times in whole microseconds, rounded down; an ensemble's queue is the sum of its steps' means; what the server does
not account for is never below zero.

Source: perf_analyzer 2.51.0, src/{inference_profiler,perf_analyzer,report_writer}.cc: block, list, CSV.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from benchmarks.serving.derived import (
    compute_us,
    encoder_split,
    failed,
    mean_batch,
    mean_us,
    percentile,
    rejected,
    request_us,
)
from benchmarks.serving.measured import Load, Measurement, ModelSplit

PERCENTILES = (50, 90, 95, 99)

DELAYED_WARNING = 0.10
"""Share of delayed requests above which the open loop's load was not the intended one, and is said so."""

THEIRS = (
    "Inferences/Second",
    "Client Send",
    "Network+Server Send/Recv",
    "Server Queue",
    "Server Compute Input",
    "Server Compute Infer",
    "Server Compute Output",
    "Client Recv",
    *(f"p{percent} latency" for percent in PERCENTILES),
    "Avg latency",
)
"""Columns after the first, as with --verbose-csv up to the mean. Client Send holds both ways; Client Recv is 0."""

OURS = (
    "Stable",
    "Faces/Second",
    "Encoder Queue",
    "Encoder Batch",
    "Rejected",
    "Errors",
    "Delayed Share",
    "Client Cores",
    "Server Cores",
)


def console_block(measurement: Measurement) -> str:
    """perf_analyzer's block of one load, and below the server's part our own lines."""
    lines = [_title(measurement.load), *_client(measurement), "  Server: ", *_server(measurement.model, 1)]
    if measurement.steps:
        lines[-1] = lines[-1].partition(" (")[0] + _ensemble_sum(measurement)
        lines += ["", "  Composing models: "]
        for step in measurement.steps:
            lines += [f"  {step.name}, version: ", *_server(step, 2), ""]
        lines.pop()
    return "\n".join([*lines, "", *_own_lines(measurement)]) + "\n"


def closing_list(measurements: Sequence[Measurement]) -> str:
    """One line for each load, in the order they were measured."""
    lines = ["Inferences/Second vs. Client Average Batch Latency"]
    for measurement in measurements:
        load, mean = measurement.load, _us(mean_us(measurement.latencies_us))
        name = "Concurrency" if load.kind == "concurrency" else "Request Rate"
        unstable = "" if measurement.is_stable else " (unstable)"
        lines.append(
            f"{name}: {load.value:g}, throughput: {measurement.throughput:g} infer/sec, latency {mean} usec{unstable}"
        )
    return "\n".join(lines) + "\n"


def write_csv(path: Path, measurements: Sequence[Measurement]) -> None:
    """perf_analyzer's CSV, slowest load first, with our columns after its own.

    Raises:
        ValueError: there is nothing to write, or closed and open loops are mixed: the first column is one or the other.
    """
    kinds = {measurement.load.kind for measurement in measurements}
    if len(kinds) != 1:
        raise ValueError("a CSV holds measurements of one kind of load, concurrency or request rate, and one at least")
    first = "Concurrency" if kinds == {"concurrency"} else "Request Rate"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow((first, *THEIRS, *OURS))
        for measurement in sorted(measurements, key=lambda measurement: measurement.throughput):
            writer.writerow((f"{measurement.load.value:g}", *_their_cells(measurement), *_our_cells(measurement)))


def _title(load: Load) -> str:
    if load.kind == "concurrency":
        return f"Request concurrency: {load.value:g}"
    return f"Request Rate: {load.value:g} inference requests per seconds"


def _client(measurement: Measurement) -> Iterator[str]:
    latencies = measurement.latencies_us
    mean, marshal = _us(mean_us(latencies)), _us(measurement.marshal_us)
    yield "  Client: "
    if not measurement.is_stable:
        trials = f"{len(measurement.windows)} measurement windows"
        yield f"    [WARNING] Failed to obtain stable measurement within {trials}."
    yield f"    Request count: {len(latencies)}"
    if measurement.delayed_share > DELAYED_WARNING:
        delayed = f"{measurement.delayed_share * 100:.2f}% of the requests were delayed."
        yield f"    [WARNING] Not able to keep up with the desired request rate. {delayed}"
    yield f"    Throughput: {measurement.throughput:g} infer/sec"
    if len(latencies) == 0:
        return
    deviation = _us(float(np.std(latencies, ddof=1))) if len(latencies) > 1 else 0
    yield f"    Avg latency: {mean} usec (standard deviation {deviation} usec)"
    for percent in PERCENTILES:
        yield f"    p{percent} latency: {_us(percentile(latencies, percent))} usec"
    parts = f"(un)marshal request/response {marshal} usec + response wait {max(0, mean - marshal)} usec"
    yield f"    Avg gRPC time: {mean} usec ({parts})"


def _server(split: ModelSplit, depth: int) -> list[str]:
    """A model's lines, deeper for a step of an ensemble."""
    indent = "  " * depth + "  "
    if split.requests == 0:
        return [f"{indent}Request count: 0"]
    parts = (
        f"overhead {_us(split.overhead_us)} usec + queue {_us(split.queue_us)} usec + "
        f"compute input {_us(split.compute_input_us)} usec + compute infer {_us(split.compute_infer_us)} usec + "
        f"compute output {_us(split.compute_output_us)} usec"
    )
    return [
        f"{indent}Inference count: {split.inferences}",
        f"{indent}Execution count: {split.executions}",
        f"{indent}Successful request count: {split.requests}",
        f"{indent}Avg request latency: {_us(request_us(split))} usec ({parts})",
    ]


def _ensemble_sum(measurement: Measurement) -> str:
    """What stands behind an ensemble's mean latency: its steps together instead of its own counters."""
    if measurement.model.requests == 0:
        return ""
    queue = sum(_us(step.queue_us) for step in measurement.steps)
    compute = sum(_us(compute_us(step)) for step in measurement.steps)
    overhead = max(0, _us(request_us(measurement.model)) - queue - compute)
    return f" (overhead {overhead} usec + queue {queue} usec + compute {compute} usec)"


def _own_lines(measurement: Measurement) -> Iterator[str]:
    answered = len(measurement.latencies_us)
    per_image = measurement.faces / answered if answered else 0.0
    yield "  Beyond perf_analyzer: "
    yield f"    Faces: {measurement.faces / measurement.duration_s:g} faces/sec ({per_image:.2f} a request)"
    encoder = encoder_split(measurement)
    if encoder is not None:
        yield f"    Mean encoder batch: {mean_batch(encoder):.2f}"
    codes = ", ".join(f"{code} {number}" for code, number in sorted(measurement.errors.items()))
    named = f" ({codes})" if codes else ""
    yield f"    Rejected: {rejected(measurement)}, other errors: {failed(measurement)}{named}"
    if measurement.load.kind == "request_rate":
        yield f"    Sent more than 1 ms late: {measurement.delayed_share * 100:.2f} %"
    server = "-" if math.isnan(measurement.server_cores) else f"{measurement.server_cores:.2f} cores"
    yield f"    CPU: load generator {measurement.client_cores:.2f} cores, server {server}"


def _their_cells(measurement: Measurement) -> list[str]:
    model, latencies = measurement.model, measurement.latencies_us
    mean, marshal = mean_us(latencies), measurement.marshal_us
    network = max(0.0, mean - marshal - model.queue_us - compute_us(model))
    times = (
        marshal,
        network,
        model.queue_us,
        model.compute_input_us,
        model.compute_infer_us,
        model.compute_output_us,
        0.0,
        *(percentile(latencies, percent) if len(latencies) else 0.0 for percent in PERCENTILES),
        mean,
    )
    return [f"{measurement.throughput:g}", *(str(_us(time)) for time in times)]


def _our_cells(measurement: Measurement) -> list[str]:
    encoder = encoder_split(measurement)
    return [
        "yes" if measurement.is_stable else "no",
        f"{measurement.faces / measurement.duration_s:g}",
        "" if encoder is None else str(_us(encoder.queue_us)),
        "" if encoder is None else f"{mean_batch(encoder):.3f}",
        str(rejected(measurement)),
        str(failed(measurement)),
        f"{measurement.delayed_share:.4f}",
        f"{measurement.client_cores:.3f}",
        "" if math.isnan(measurement.server_cores) else f"{measurement.server_cores:.3f}",
    ]


def _us(time_us: float) -> int:
    """Whole microseconds, rounded down as perf_analyzer does, but for what floats lose of a whole one."""
    return int(time_us + 1e-6)
