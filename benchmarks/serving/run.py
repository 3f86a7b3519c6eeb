"""`benchmarks serving`: a running server under one load after the other.

Its blocks and its CSV are perf_analyzer's, so what reads those reads ours.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from benchmarks.records import RESULTS, Figure, table, write_record
from benchmarks.serving.console import closing_list, console_block, write_csv
from benchmarks.serving.derived import encoder_split, failed, mean_batch, percentile, rejected
from benchmarks.serving.load import MOST_OUTSTANDING
from benchmarks.serving.measured import Load, Measurement
from benchmarks.serving.measuring import SEED, Mode, Target, measure, num_processes
from benchmarks.serving.payloads import crop_payloads, encoder_side_px, image_payloads
from benchmarks.serving.plotting import label, plot
from benchmarks.serving.windows import Windowing
from lnclip import running
from lnclip.artifact import Artifact
from lnclip.contract import ENCODER
from lnclip.errors import ConfigError, ServerError
from lnclip.publication import versions
from server.health import ask

log = logging.getLogger(__name__)

PAYLOADS = 100
"""Different files or crops that are sent in turn: two of the files have 12 MP."""

PACKAGES = ("tritonclient", "grpcio", "protobuf", "numpy", "openvino", "onnxruntime", "opencv-python-headless")
COLUMNS = (
    *("load", "images/s", "faces/s", "p50 ms", "p90 ms", "p95 ms", "p99 ms"),
    *("encoder queue ms", "encoder batch", "rejected/errors", "client cores", "stable"),
)


def run_serving(  # noqa: PLR0917 - the command's flags
    target: Target | None,
    loads: Sequence[Load],
    mode: Mode,
    windowing: Windowing,
    csv: Path | None = None,
    out: Path = RESULTS,
    *,
    repository: Path | None = None,
) -> str:
    """Measure, write the record, and answer the blocks, the table and the record's path.

    Args:
        target: None: the server that runs from the working directory.
        loads: in this order.
        mode: whole images or ready crops; in place of the target's.
        windowing: of every load.
        csv: also write perf_analyzer's CSV there.
        out: where records are kept.
        repository: that a given target serves, to say in the record which encoder it was.

    Raises:
        ConfigError: no load, or a CSV of closed and open loops.
        ServerError: no server runs, or it stopped.
    """
    if not loads or any(load.value < (1 if load.kind == "concurrency" else 1e-6) for load in loads):
        raise ConfigError("give at least one load: requests in flight from 1, or a rate above 0")
    if csv and len({load.kind for load in loads}) > 1:
        raise ConfigError("a CSV has one first column: give concurrencies or request rates, not both")
    target, encoder = _served(target, mode, repository)
    payloads = (
        image_payloads(PAYLOADS) if mode == "images" else crop_payloads(PAYLOADS, encoder_side_px(target.http_url))
    )
    measurements = []
    for load in loads:
        measurements.append(measure(target, load, payloads, windowing))
        log.info("%s: %.1f/s", label(load), measurements[-1].throughput)
    if csv:
        write_csv(csv, measurements)
    path, text = _keep(measurements, target, encoder, windowing, out)
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


def _served(target: Target | None, mode: Mode, repository: Path | None) -> tuple[Target, Artifact | None]:
    """The server to measure, and the newest artifact in its repository where that is at hand."""
    if target is None:
        server = running.find()
        if server is None:
            raise ServerError("no server runs from here: python -m server start")
        target = Target(grpc_url=server.grpc_url, http_url=server.http_url, pid=server.pid, mode=mode)
        repository = server.repository
    published = versions(repository / ENCODER) if repository else []
    newest = repository / ENCODER / str(published[-1]) / "model.json" if repository and published else None
    return replace(target, mode=mode), Artifact.load(newest) if newest else None


def _server_version(http_url: str) -> str | None:
    """None where it does not answer any more."""
    answer = ask(http_url, "/v2")
    return str(json.loads(answer.body)["version"]) if answer is not None and answer.status == 200 else None


def _keep(
    measurements: Sequence[Measurement], target: Target, encoder: Artifact | None, windowing: Windowing, out: Path
) -> tuple[Path, str]:
    """Write the record; its path and its text."""
    mode = target.mode
    called = (
        f"{encoder.identity.encoder.name} {encoder.identity.precision}" if encoder else "an encoder that is not known"
    )
    sent = "JPEGs to the ensemble" if mode == "images" else "ready crops to the encoder, one in a request"
    caption = f"{called}: {PAYLOADS} different {sent}, windows of {windowing.interval_s:g} s and more"
    text = f"{caption}\n\n{table(COLUMNS, rows(measurements))}"
    record = {
        "settings": {
            "mode": mode,
            "payloads": PAYLOADS,
            "windowing": asdict(windowing),
            "most_outstanding": MOST_OUTSTANDING,
            "seed": SEED,
            "encoder": encoder.identity.model_dump(mode="json") if encoder else None,
            "tritonserver": _server_version(target.http_url),
        },
        "rows": [dict(zip(COLUMNS, row, strict=True)) for row in rows(measurements)],
        "samples": [_sample(measurement) for measurement in measurements],
    }
    path = write_record(
        f"serving_{mode}",
        record,
        text,
        plot(measurements, caption),
        packages=PACKAGES,
        folder=out,
        figures=_figures(measurements, mode, called),
    )
    return path, text


def _figures(measurements: Sequence[Measurement], mode: Mode, called: str) -> list[Figure]:
    """The highest throughput that is stable."""
    stable = [measurement for measurement in measurements if measurement.is_stable]
    if not stable:
        return []
    best = max(stable, key=lambda measurement: measurement.throughput)
    p99_ms = percentile(best.latencies_us, 99) / 1000
    what = f"serving {mode}, {called}, {label(best.load)}"
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
        "server_cores": measured.server_cores,
        "model": measured.model._asdict(),
        "steps": [step._asdict() for step in measured.steps],
    }
