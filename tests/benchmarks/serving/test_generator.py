"""The load generator against a peer of its own: what it sends, when it meant to, and what it makes of failures."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2

from benchmarks.serving.generator import coded, cpu_s, sending
from benchmarks.serving.load import Task, count_faces, shares
from benchmarks.serving.measured import Exchange, Load
from lnclip.errors import LnclipError

Handler = Callable[[bytes, grpc.ServicerContext], bytes]


def answer(num_faces: int) -> bytes:
    response = service_pb2.ModelInferResponse()
    response.outputs.add(name="p_fake", datatype="FP32", shape=[1])
    response.outputs.add(name="face_p_fake", datatype="FP32", shape=[num_faces])
    return response.SerializeToString()


@contextmanager
def peer(handler: Handler) -> Iterator[str]:
    server = grpc.server(ThreadPoolExecutor(8))
    method = {"ModelInfer": grpc.unary_unary_rpc_method_handler(handler)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("inference.GRPCInferenceService", method),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()


def task(url: str, load: Load, **changed: object) -> Task:
    given = {"messages": [b"a", b"b", b"c"], "faces_output": "face_p_fake", "most_outstanding": 100, "seed": (5,)}
    return Task(grpc_url=url, load=load, **{**given, **changed})


def run(given: Task, number: int) -> list[Exchange]:
    """So many exchanges, or a few more."""
    with sending([given]) as generator:
        generator.begin()
        while generator.num_ended < number:
            generator.collect(time.monotonic())
        return generator.take(time.monotonic())


def test_a_closed_loop_keeps_as_many_outstanding_as_it_is_told_and_sends_each_message_in_turn() -> None:
    received: list[bytes] = []
    lock, present, most = threading.Lock(), [0], [0]

    def handler(request: bytes, _: grpc.ServicerContext) -> bytes:
        with lock:
            received.append(request)
            present[0] += 1
            most[0] = max(most[0], present[0])
        time.sleep(0.02)
        with lock:
            present[0] -= 1
        return answer(3)

    with peer(handler) as url:
        exchanges = run(task(url, Load("concurrency", 4)), 40)
    assert most == [4]
    assert {each.num_faces for each in exchanges} == {3}
    counts = [received.count(message) for message in (b"a", b"b", b"c")]
    assert max(counts) - min(counts) <= 1
    assert all(each.intended_s == pytest.approx(each.sent_s, abs=0.01) for each in exchanges)


def test_an_open_loop_keeps_its_starts_while_the_server_is_slow_and_says_when_too_many_wait() -> None:
    def handler(_request: bytes, _context: grpc.ServicerContext) -> bytes:
        time.sleep(0.5)
        return answer(0)

    with peer(handler) as url:
        exchanges = run(task(url, Load("request_rate", 100.0), most_outstanding=6), 120)
    starts = np.array(sorted(each.intended_s for each in exchanges))
    drawn = np.cumsum(np.random.default_rng((5,)).exponential(0.01, 1000))
    away_s = np.abs((starts - starts[0])[:, None] - (drawn - drawn[0])[None])
    assert away_s.min(axis=1).max() < 1e-6
    assert len(set(away_s.argmin(axis=1))) == len(starts) >= 120
    errors = [each.error for each in exchanges]
    assert errors.count("backlog") > 0
    assert set(errors) <= {"", "backlog"}
    assert all(each.num_faces == -1 for each in exchanges if each.error)


def test_a_failure_is_counted_by_its_code_and_the_next_request_is_sent() -> None:
    turns = iter(range(1_000_000))

    def handler(_: bytes, context: grpc.ServicerContext) -> bytes:
        if next(turns) % 2:
            context.abort(grpc.StatusCode.UNAVAILABLE, "Exceeds maximum queue size")
        return answer(1)

    with peer(handler) as url:
        exchanges = run(task(url, Load("concurrency", 1)), 10)
    assert [each.error for each in exchanges[:4]] == ["", "unavailable", "", "unavailable"]


def test_an_image_that_cannot_be_read_counts_under_its_reason() -> None:
    failed = Exchange(0.0, 0.0, 1.0, 0.0, -1, "StatusCode.INVALID_ARGUMENT\nin ensemble 'x', truncated: half a file")
    assert coded(failed).error == "truncated"
    assert coded(failed._replace(error="backlog")).error == "backlog"
    assert coded(failed._replace(error="")).error == ""


def test_a_process_that_dies_is_an_error_and_not_a_wait() -> None:
    with sending([task("127.0.0.1:9", Load("concurrency", 1))]) as generator:
        generator.begin()
        os.kill(generator.pids[0], signal.SIGKILL)
        with pytest.raises(LnclipError, match="died"):
            generator.collect(time.monotonic() + 60)


def test_a_load_is_dealt_to_processes_whole() -> None:
    given = task("", Load("concurrency", 7), messages=[b"a", b"b", b"c", b"d", b"e"])
    parts = shares(given, 3)
    assert [part.load.value for part in parts] == [3, 2, 2]
    assert [part.messages for part in parts] == [[b"a", b"d"], [b"b", b"e"], [b"c"]]
    assert len({part.seed for part in parts}) == 3
    opened = shares(task("", Load("request_rate", 9.0), messages=[b"a"]), 2)
    assert [part.load.value for part in opened] == [4.5, 4.5]
    assert [part.messages for part in opened] == [[b"a"], [b"a"]]
    assert [part.most_outstanding for part in opened] == [50, 50]


def test_faces_are_counted_where_the_answer_has_them() -> None:
    assert count_faces(answer(0), "face_p_fake") == 0
    assert count_faces(answer(4), "face_p_fake") == 4
    assert count_faces(answer(4), "") == 1


def test_cpu_time_of_a_process_covers_its_children() -> None:
    busy = "import time\nwhile time.process_time() < 0.3: pass\nprint(flush=True)\ninput()"
    before_s = cpu_s(os.getpid())
    with subprocess.Popen([sys.executable, "-c", busy], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert cpu_s(child.pid) >= 0.25
        assert cpu_s(os.getpid()) - before_s >= 0.25
        child.communicate(b"\n")
    assert cpu_s(os.getpid()) - before_s >= 0.25, "an ended child's time is not lost"
    assert cpu_s(child.pid) == 0
