"""`benchmarks serving`: a running server under one load after the other.

Its blocks and its CSV are perf_analyzer's, so what reads those reads ours.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.records import RESULTS, Figure, table, write_record
from benchmarks.serving.console import closing_list, console_block, write_csv
from benchmarks.serving.derived import encoder_split, failed, mean_batch, percentile, rejected
from benchmarks.serving.load import MOST_OUTSTANDING
from benchmarks.serving.measured import Load, Measurement
from benchmarks.serving.measuring import SEED, measure, num_processes
from benchmarks.serving.payloads import crop_payloads, encoder_side_px, image_payloads
from benchmarks.serving.plotting import label, plot
from benchmarks.serving.served import Served
from benchmarks.serving.windows import Windowing
from lnclip.errors import ConfigError
from server.health import ask

log = logging.getLogger(__name__)

PAYLOADS = 100
"""Different files or crops that are sent in turn: two of the files have 12 MP."""

PACKAGES = ("tritonclient", "grpcio", "protobuf", "numpy", "opencv-python-headless")
ENGINES = ("openvino", "onnxruntime")
"""Of a server of this machine; somebody else's has its own."""

COLUMNS = (
    *("load", "images/s", "faces/s", "p50 ms", "p90 ms", "p95 ms", "p99 ms"),
    *("encoder queue ms", "encoder batch", "rejected/errors", "client cores", "stable"),
)


def run_serving(
    served: Served, loads: Sequence[Load], windowing: Windowing, csv: Path | None = None, out: Path = RESULTS
) -> str:
    """Measure, write the record, and answer the blocks, the table and the record's path.

    Args:
        served: that is measured.
        loads: in this order.
        windowing: of every load.
        csv: also write perf_analyzer's CSV there.
        out: where records are kept.

    Raises:
        ConfigError: no load, or a CSV of closed and open loops.
        ServerError: it stopped, or lacks a model.
    """
    if not loads or any(load.value < (1 if load.kind == "concurrency" else 1e-6) for load in loads):
        raise ConfigError("give at least one load: requests in flight from 1, or a rate above 0")
    if csv and len({load.kind for load in loads}) > 1:
        raise ConfigError("a CSV has one first column: give concurrencies or request rates, not both")
    target = served.target
    if target.mode == "images":
        payloads = image_payloads(PAYLOADS)
    else:
        payloads = crop_payloads(PAYLOADS, encoder_side_px(target.http_url))
    measurements = []
    for load in loads:
        measurements.append(measure(target, load, payloads, windowing))
        log.info("%s: %.1f/s", label(load), measurements[-1].throughput)
    if csv:
        write_csv(csv, measurements)
    path, text = _keep(measurements, served, windowing, out)
    blocks = "\n".join(map(console_block, measurements))
    return f"{blocks}\n{closing_list(measurements)}\n{text}\n{path}"


def rows(measurements: Sequence[Measurement]) -> list[tuple[str, ...]]:
    """Under ``COLUMNS``."""
    return [_row(measurement) for measurement in measurements]


def _row(measured: Measurement) -> tuple[str, ...]:
    encoder, answered = encoder_split(measured), len(measured.latencies_us)
    latencies = [f"{percentile(measured.latencies_us, p) / 1000:.1f}" if answered else "-" for p in (50, 90, 95, 99)]
    ran = encoder is not None and encoder.requests
    return (
        label(measured.load),
        f"{measured.throughput:.2f}",
        f"{measured.faces / measured.duration_s:.2f}",
        *latencies,
        f"{encoder.queue_us / 1000:.1f}" if encoder and ran else "-",
        f"{mean_batch(encoder):.2f}" if encoder and ran else "-",
        f"{rejected(measured)}/{failed(measured)}",
        f"{measured.client_cores:.2f}",
        "yes" if measured.is_stable else "unstable",
    )


def _server_version(http_url: str) -> str | None:
    """None where it does not answer any more."""
    answer = ask(http_url, "/v2")
    return str(json.loads(answer.body)["version"]) if answer is not None and answer.status == 200 else None


def _keep(measurements: Sequence[Measurement], served: Served, windowing: Windowing, out: Path) -> tuple[Path, str]:
    """Write the record; its path and its text.

    Figures of a given server are not for README's table: that names the machine, and the server's is not known.
    """
    mode, is_given = served.target.mode, served.kind == "given"
    sent = "JPEGs to the ensemble" if mode == "images" else "ready crops to the encoder, one in a request"
    caption = f"{served.called}: {PAYLOADS} different {sent}, windows of {windowing.interval_s:g} s and more"
    text = f"{caption}\n\n{table(COLUMNS, rows(measurements))}"
    if is_given:
        text = f"The machine named here is the load generator's.\n\n{text}"
    record = {
        "settings": {
            "server": served.kind,
            "mode": mode,
            "payloads": PAYLOADS,
            "windowing": asdict(windowing),
            "most_outstanding": MOST_OUTSTANDING,
            "seed": SEED,
            **served.facts,
            "tritonserver": _server_version(served.target.http_url),
        },
        "rows": [dict(zip(COLUMNS, row, strict=True)) for row in rows(measurements)],
        "samples": [_sample(measurement) for measurement in measurements],
    }
    path = write_record(
        f"serving_{mode}_given" if is_given else f"serving_{mode}",
        record,
        text,
        plot(measurements, caption),
        packages=PACKAGES if is_given else (*PACKAGES, *ENGINES),
        folder=out,
        figures=[] if is_given else _figures(measurements, served),
    )
    return path, text


def _figures(measurements: Sequence[Measurement], served: Served) -> list[Figure]:
    """The highest throughput that is stable."""
    stable = [measurement for measurement in measurements if measurement.is_stable]
    if not stable:
        return []
    best, mode = max(stable, key=lambda measurement: measurement.throughput), served.target.mode
    p99_ms = percentile(best.latencies_us, 99) / 1000
    what = f"serving {mode}, {served.called}, {label(best.load)}"
    return [Figure(what, f"{best.throughput:.2f} {mode}/s, p99 {p99_ms:.0f} ms")]


def _sample(measured: Measurement) -> dict[str, object]:
    """All of a measurement, as JSON can hold it."""
    return {
        "load": measured.load._asdict(),
        "processes": num_processes(measured.load),
        "is_stable": measured.is_stable,
        "windows": [window._asdict() for window in measured.windows],
        "duration_s": measured.duration_s,
        "throughput": measured.throughput,
        "latencies_us": [round(latency) for latency in measured.latencies_us.tolist()],
        "marshal_us": measured.marshal_us,
        "faces": measured.faces,
        "errors": dict(measured.errors),
        "delayed_share": measured.delayed_share,
        "client_cores": measured.client_cores,
        "server_cores": None if math.isnan(measured.server_cores) else measured.server_cores,
        "model": measured.model._asdict(),
        "steps": [step._asdict() for step in measured.steps],
    }
