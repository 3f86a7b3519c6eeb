"""Two readings of Triton's statistics, and what happened in between."""

import json
import re
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from benchmarks.serving.measured import ModelSplit
from benchmarks.serving.model_statistics import (
    Counts,
    Statistics,
    ensemble_steps,
    parse_statistics,
    read_statistics,
    split,
)
from lnclip.contract import ENSEMBLE
from lnclip.errors import ServerError

REPOSITORY = Path(__file__).parents[3] / "model_repository"

TRITONS = b"""{"model_stats":[{"name":"face_encoder","version":"1","last_inference":1795300224674,
"inference_count":219,"execution_count":131,"inference_stats":{"success":{"count":135,"ns":9829647042},
"fail":{"count":2,"ns":77},"queue":{"count":135,"ns":1269206071},"compute_input":{"count":135,"ns":15404176},
"compute_infer":{"count":135,"ns":8445487854},"compute_output":{"count":135,"ns":98349759},
"cache_hit":{"count":0,"ns":0},"cache_miss":{"count":0,"ns":0}},"response_stats":{},"batch_stats":[],
"memory_usage":[]}]}"""
"""As tritonserver 2.51.0 wrote it."""

ZERO = Statistics({})


def one(counts: Counts, version: str = "1") -> Statistics:
    return Statistics({("m", version): counts})


def test_reads_what_triton_writes() -> None:
    assert parse_statistics(TRITONS).models == {
        ("face_encoder", "1"): Counts(135, 2, 219, 131, 9829647042, 1269206071, 15404176, 8445487854, 98349759)
    }


def test_a_counter_that_triton_leaves_out_is_zero() -> None:
    body = b'{"model_stats":[{"name":"m","version":"3","inference_stats":{"success":{"count":"4","ns":"50"}}}]}'
    assert parse_statistics(body).models == {("m", "3"): Counts(requests=4, request_ns=50)}


@pytest.mark.parametrize(
    "body",
    [
        b"<html>",
        b"{}",
        b"[]",
        b'{"model_stats":[{"version":"1"}]}',
        b'{"model_stats":[{"name":"m","version":"1","inference_stats":[]}]}',
        b'{"model_stats":[{"name":"m","version":"1","inference_count":[1],"inference_stats":{}}]}',
        b'{"model_stats":[{"name":"m","version":"1","inference_count":"many","inference_stats":{}}]}',
    ],
)
def test_refuses_what_is_not_tritons_statistics(body: bytes) -> None:
    with pytest.raises(ServerError, match="not Triton's statistics"):
        parse_statistics(body)


def test_a_split_is_the_difference_per_successful_request() -> None:
    before = one(Counts(10, 1, 12, 6, 1_000_000, 100_000, 10_000, 800_000, 50_000))
    after = one(Counts(14, 3, 20, 8, 9_000_000, 2_100_000, 50_000, 5_600_000, 130_000))
    assert split(before, after, "m") == ModelSplit(
        name="m",
        requests=4,
        failures=2,
        inferences=8,
        executions=2,
        queue_us=500.0,
        compute_input_us=10.0,
        compute_infer_us=1200.0,
        compute_output_us=20.0,
        overhead_us=270.0,  # 2000 - 1730
    )


def test_without_requests_every_time_is_zero() -> None:
    idle = one(Counts(5, 0, 5, 5, 100, 1, 2, 3, 4))
    assert split(idle, idle, "m") == ModelSplit("m", 0, 0, 0, 0, 0.0, 0.0, 0.0, 0.0, 0.0)


def test_overhead_is_never_below_zero() -> None:
    assert split(ZERO, one(Counts(1, 0, 1, 1, 1_000, 600, 0, 500, 0)), "m").overhead_us == 0.0


def test_a_model_loaded_anew_counts_from_zero() -> None:
    before, after = one(Counts(100, 0, 100, 100, 10**9)), one(Counts(2, 0, 3, 1, 4_000))
    assert split(before, after, "m")[:5] == ("m", 2, 0, 3, 1)


def test_versions_are_added_up_and_a_gone_one_is_left_out() -> None:
    before = Statistics({("m", "1"): Counts(requests=5), ("m", "2"): Counts(requests=1, request_ns=500)})
    after = Statistics(
        {
            ("m", "2"): Counts(requests=4, request_ns=6_500),
            ("m", "3"): Counts(requests=3, request_ns=12_000),
            ("other", "1"): Counts(requests=99),
        }
    )
    found = split(before, after, "m")
    assert (found.requests, found.overhead_us) == (6, 3.0)


def test_a_model_that_is_not_there_is_an_error_that_names_the_others() -> None:
    with pytest.raises(ServerError, match="no model gone: it has m"):
        split(ZERO, one(Counts()), "gone")


def test_the_steps_are_the_ones_in_the_configuration() -> None:
    text = (REPOSITORY / ENSEMBLE / "config.pbtxt").read_text(encoding="utf-8")
    configured = re.findall(r'model_name: "(\w+)"', text)
    body = json.dumps({"model_stats": [{"name": name, "version": "1", "inference_stats": {}} for name in configured]})
    with answering(200, body.encode()) as url:
        assert ensemble_steps(url, ENSEMBLE) == configured
        assert ensemble_steps(url, "face_encoder") == []


def test_a_missing_step_is_an_error() -> None:
    with (
        answering(200, b'{"model_stats":[{"name":"face_encoder","version":"1","inference_stats":{}}]}') as url,
        pytest.raises(ServerError, match="does not have image_decoder, face_detector, face_aligner, face_verdict"),
    ):
        ensemble_steps(url, ENSEMBLE)


def test_a_server_that_refuses_is_quoted() -> None:
    with (
        answering(403, b'{"error":"This API is restricted"}') as url,
        pytest.raises(ServerError, match=r"says 403: .*restricted"),
    ):
        read_statistics(url)


def test_nobody_there_is_an_error() -> None:
    with pytest.raises(ServerError, match=r"nobody answers at http://127\.0\.0\.1:9"):
        read_statistics("127.0.0.1:9")


class answering:  # noqa: N801 - used like a function
    """Serve one answer to every GET."""

    def __init__(self, status: int, body: bytes) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.thread = Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05})

    def __enter__(self) -> str:
        self.thread.start()
        return f"127.0.0.1:{self.server.server_port}"

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()
