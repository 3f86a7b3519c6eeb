"""Latency against throughput, and what a request's time is made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.serving.derived import compute_us, mean_us, percentile, request_us
from benchmarks.serving.measured import Load, Measurement

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def plot(measurements: Sequence[Measurement], caption: str) -> Figure:
    """Two panels; ``measurements`` with answers only, one at least."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure: Figure
    figure, (curve, bars) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
    answered = [measurement for measurement in measurements if len(measurement.latencies_us)]
    _curve(curve, answered)
    _bars(bars, answered)
    figure.suptitle(caption, fontsize=9)
    return figure


def label(load: Load) -> str:
    """A load in few characters."""
    return f"{load.value:g} in flight" if load.kind == "concurrency" else f"{load.value:g}/s"


def time_parts(measurement: Measurement) -> dict[str, float]:
    """Milliseconds of a mean request by what they went to; together they are its mean latency.

    A fanned-out request counts once for each model, with the mean of that model's requests.
    """
    splits = measurement.steps or [measurement.model]
    parts = {split.name: compute_us(split) / 1000 for split in splits}
    parts["queues"] = sum(split.queue_us for split in splits) / 1000
    server_ms, mean_ms = request_us(measurement.model) / 1000, mean_us(measurement.latencies_us) / 1000
    parts["between models"] = max(0.0, server_ms - sum(parts.values()))
    parts["outside the server"] = max(0.0, mean_ms - sum(parts.values()))
    return parts


def _curve(axes: Axes, measurements: Sequence[Measurement]) -> None:
    for kind, line in (("concurrency", "-"), ("request_rate", ":")):
        ours = [each for each in measurements if each.load.kind == kind]
        ours.sort(key=lambda measurement: measurement.load.value)
        for percent, colour in ((50, "tab:blue"), (99, "tab:red")):
            speeds = [each.throughput for each in ours]
            latencies = [percentile(each.latencies_us, percent) / 1000 for each in ours]
            if ours:
                called = f"p{percent}" + (", open loop" if kind == "request_rate" else "")
                axes.plot(speeds, latencies, line, color=colour, label=called)
            for each, speed, latency in zip(ours, speeds, latencies, strict=True):
                filled = colour if each.is_stable else "white"
                axes.plot(speed, latency, "o", color=colour, markerfacecolor=filled)
        for each in ours:
            place = each.throughput, percentile(each.latencies_us, 99) / 1000
            axes.annotate(label(each.load), place, fontsize=7, xytext=(4, 4), textcoords="offset points")
    axes.set_xlabel("requests/s (hollow: unstable)")
    axes.set_ylabel("latency, ms")
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter("{x:g}")
    axes.grid(visible=True, which="both", alpha=0.3)
    if measurements:
        axes.legend(fontsize=8)


def _bars(axes: Axes, measurements: Sequence[Measurement]) -> None:
    names = [label(each.load) for each in measurements]
    columns = [time_parts(each) for each in measurements]
    left = np.zeros(len(columns))
    for part in columns[0] if columns else ():
        widths = np.array([column.get(part, 0.0) for column in columns])
        colour = {"queues": "lightgrey", "between models": "silver", "outside the server": "black"}.get(part)
        axes.barh(names, widths, left=left, label=part, color=colour)
        left += widths
    axes.invert_yaxis()
    axes.set_xlabel("ms of a mean request")
    if columns:
        axes.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1.0, 1.0))
