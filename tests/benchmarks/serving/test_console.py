"""What a measurement looks like in perf_analyzer's words; the expected texts are its own, or written by hand."""

import csv
from pathlib import Path

import numpy as np
import pytest

from benchmarks.serving.console import closing_list, console_block, write_csv
from benchmarks.serving.derived import percentile
from benchmarks.serving.measured import Load, Measurement, ModelSplit, Window

ENSEMBLE = ModelSplit("deepfake_detector", 4, 0, 4, 4, 3.9, 100.0, 2000.0, 50.5, 845.6)
STEPS = [
    ModelSplit("image_decoder", 4, 0, 4, 4, 10.0, 1.0, 300.0, 2.0, 3.0),
    ModelSplit("face_encoder", 4, 0, 8, 2, 500.0, 7.0, 1400.9, 3.0, 5.0),
]


def measured(
    *,
    kind: str = "concurrency",
    value: float = 4,
    is_stable: bool = True,
    latencies_us: tuple[float, ...] = (4000.0, 1000.0, 2000.0, 3000.0),
    duration_s: float = 0.5,
    errors: dict[str, int] | None = None,
    delayed_share: float = 0.0,
    server_cores: float = 1.5,
    model: ModelSplit = ENSEMBLE,
    steps: list[ModelSplit] = STEPS,
) -> Measurement:
    return Measurement(
        load=Load(kind, value),
        is_stable=is_stable,
        windows=[Window(0.25, 2, 2500.0)] * 2,
        duration_s=duration_s,
        latencies_us=np.array(latencies_us),
        answered_s=np.zeros(len(latencies_us)),
        marshal_us=40.7,
        faces=6,
        errors=errors or {},
        delayed_share=delayed_share,
        client_cores=0.125,
        server_cores=server_cores,
        model=model,
        steps=steps,
    )


def test_an_ensembles_block_reads_as_perf_analyzers() -> None:
    assert (
        console_block(measured(errors={"unavailable": 3, "timeout": 1, "backlog": 2}))
        == """\
Request concurrency: 4
  Client: 
    Request count: 4
    Throughput: 8 infer/sec
    Avg latency: 2500 usec (standard deviation 1290 usec)
    p50 latency: 3000 usec
    p90 latency: 4000 usec
    p95 latency: 4000 usec
    p99 latency: 4000 usec
    Avg gRPC time: 2500 usec ((un)marshal request/response 40 usec + response wait 2460 usec)
  Server: 
    Inference count: 4
    Execution count: 4
    Successful request count: 4
    Avg request latency: 3000 usec (overhead 777 usec + queue 510 usec + compute 1713 usec)

  Composing models: 
  image_decoder, version: 
      Inference count: 4
      Execution count: 4
      Successful request count: 4
      Avg request latency: 316 usec (overhead 3 usec + queue 10 usec + compute input 1 usec + compute infer 300 usec + compute output 2 usec)

  face_encoder, version: 
      Inference count: 8
      Execution count: 2
      Successful request count: 4
      Avg request latency: 1915 usec (overhead 5 usec + queue 500 usec + compute input 7 usec + compute infer 1400 usec + compute output 3 usec)

  Beyond perf_analyzer: 
    Faces: 12 faces/sec (1.50 a request)
    Mean encoder batch: 4.00
    Rejected: 3, other errors: 3 (backlog 2, timeout 1, unavailable 3)
    CPU: load generator 0.12 cores, server 1.50 cores
"""  # noqa: E501, W291 - perf_analyzer's own lines
    )


def test_a_plain_models_block_has_its_own_parts_and_no_composing_models() -> None:
    block = console_block(measured(model=STEPS[1], steps=[]))
    line = (
        "    Avg request latency: 1915 usec (overhead 5 usec + queue 500 usec + compute input 7 usec + "
        "compute infer 1400 usec + compute output 3 usec)\n"
    )
    assert line in block
    assert "Composing" not in block
    assert "Mean encoder batch: 4.00" in block


def test_an_open_loop_says_its_rate_and_how_many_were_late() -> None:
    block = console_block(measured(kind="request_rate", value=12.5, delayed_share=0.25))
    assert block.startswith("Request Rate: 12.5 inference requests per seconds\n")
    assert "desired request rate. 25.00% of the requests were delayed." in block
    assert "Sent more than 1 ms late: 25.00 %" in block
    assert "[WARNING]" not in console_block(measured(kind="request_rate", delayed_share=0.10))


def test_an_unstable_measurement_says_so_everywhere(tmp_path: Path) -> None:
    unstable = measured(is_stable=False)
    assert "[WARNING] Failed to obtain stable measurement within 2 measurement windows." in console_block(unstable)
    assert closing_list([unstable]).splitlines()[1].endswith("latency 2500 usec (unstable)")
    write_csv(tmp_path / "o.csv", [unstable])
    assert read(tmp_path / "o.csv")[0]["Stable"] == "no"


def test_a_measurement_without_answers_is_printed(tmp_path: Path) -> None:
    idle = ModelSplit("deepfake_detector", 0, 4, 0, 0, 0.0, 0.0, 0.0, 0.0, 0.0)
    nothing = measured(latencies_us=(), errors={"unavailable": 4}, model=idle, is_stable=False)
    block = console_block(nothing)
    assert "Throughput: 0 infer/sec" in block
    assert "    Request count: 0\n" in block
    assert "nan" not in block + closing_list([nothing])
    write_csv(tmp_path / "o.csv", [nothing])
    assert "nan" not in (tmp_path / "o.csv").read_text()


def test_the_cpu_of_a_server_elsewhere_is_not_known_rather_than_none(tmp_path: Path) -> None:
    elsewhere = measured(server_cores=float("nan"))
    assert console_block(elsewhere).endswith("CPU: load generator 0.12 cores, server -\n")
    write_csv(tmp_path / "o.csv", [elsewhere])
    assert read(tmp_path / "o.csv")[0]["Server Cores"] == ""


def test_the_closing_list_is_perf_analyzers() -> None:
    rate = measured(kind="request_rate", value=20, duration_s=3)
    assert (
        closing_list([measured(), rate])
        == """\
Inferences/Second vs. Client Average Batch Latency
Concurrency: 4, throughput: 8 infer/sec, latency 2500 usec
Request Rate: 20, throughput: 1.33333 infer/sec, latency 2500 usec
"""
    )


HEADER = (
    "Concurrency,Inferences/Second,Client Send,Network+Server Send/Recv,Server Queue,Server Compute Input,"
    "Server Compute Infer,Server Compute Output,Client Recv,p50 latency,p90 latency,p95 latency,p99 latency,Avg latency"
)
"""As perf_analyzer 2.51.0 wrote it with --verbose-csv; after these it has request/response and response wait."""


def test_the_csv_has_perf_analyzers_columns_first_and_the_slowest_load_on_top(tmp_path: Path) -> None:
    write_csv(tmp_path / "sub" / "o.csv", [measured(), measured(value=1, duration_s=2)])
    lines = (tmp_path / "sub" / "o.csv").read_text().splitlines()
    assert lines[0] == (
        f"{HEADER},Stable,Faces/Second,Encoder Queue,Encoder Batch,Rejected,Errors,Delayed Share,"
        "Client Cores,Server Cores"
    )
    # The network's share: 2500 less 40.7, 3.9, 100, 2000 and 50.5 leaves 304.9.
    times = "40,304,3,100,2000,50,0,3000,4000,4000,4000,2500"
    assert lines[1] == f"1,2,{times},yes,3,500,4.000,0,0,0.0000,0.125,1.500"
    assert lines[2] == f"4,8,{times},yes,12,500,4.000,0,0,0.0000,0.125,1.500"


def test_the_csv_of_an_open_loop_starts_with_its_rate(tmp_path: Path) -> None:
    write_csv(tmp_path / "o.csv", [measured(kind="request_rate", value=12.5)])
    assert read(tmp_path / "o.csv")[0]["Request Rate"] == "12.5"


def test_a_model_other_than_the_encoder_leaves_the_encoders_cells_empty(tmp_path: Path) -> None:
    write_csv(tmp_path / "o.csv", [measured(model=STEPS[0], steps=[])])
    row = read(tmp_path / "o.csv")[0]
    assert (row["Encoder Queue"], row["Encoder Batch"]) == ("", "")


def test_a_csv_of_nothing_or_of_both_loops_is_refused(tmp_path: Path) -> None:
    for wrong in ([], [measured(), measured(kind="request_rate")]):
        with pytest.raises(ValueError, match="one kind of load"):
            write_csv(tmp_path / "o.csv", wrong)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("number", "percent", "rank"),
    [(1, 99, 0), (2, 50, 1), (3, 50, 1), (4, 50, 2), (10, 90, 8), (11, 90, 9), (39, 99, 38), (101, 99, 99)],
)
def test_a_percentile_is_the_nearest_measured_one(number: int, percent: float, rank: int) -> None:
    latencies = np.random.default_rng(0).permutation(number).astype(np.float64)
    assert percentile(latencies, percent) == rank


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))
