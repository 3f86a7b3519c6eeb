"""``client score --resume`` as a user meets it: killed, interrupted, refused, and in the end complete."""

from __future__ import annotations

import os
import random
import resource
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path

import grpc
import numpy as np
import pytest

from client import ScoreOptions, read_rows
from client.job import ScoreRun, score_paths
from client.journal import journal_path
from lnclip.errors import ConfigError
from lnclip.running import RunningServer
from tests.client.peer import Peer, RefusalError, sent_image, serve
from tests.client.runs import answer_of, by_input, resumed, running, said, scores, sent, wait_until, write_files
from tests.conftest import jpeg


@pytest.fixture
def files(tmp_path: Path) -> Path:
    return write_files(tmp_path / "media", 40)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "rows.jsonl"


@pytest.mark.slow
@pytest.mark.parametrize("ending", [".jsonl", ".csv", ".parquet"])
def test_kills_at_any_moment_change_nothing(tmp_path: Path, ending: str) -> None:
    rng = random.Random(ending)
    files = write_files(tmp_path / "media", 300)
    (files / "gone.jpg").symlink_to("nowhere")
    out, whole = tmp_path / f"rows{ending}", tmp_path / f"whole{ending}"
    kills = 0
    with serve(scores(0.004)) as url:
        resumed(url, whole, files)
    peer = scores(0.004)
    with serve(peer) as url:
        for _ in range(5):
            answered = len(peer.requests)
            with running(files, "--out", out, "--url", url, "--resume", "--concurrency", "4") as process:
                further = rng.randrange(80)
                wait_until(lambda: len(peer.requests) >= answered + further or process.poll() is not None)  # noqa: B023
                time.sleep(rng.uniform(0, 0.02))
                process.kill()
                kills += process.wait() == -signal.SIGKILL
            assert not out.exists() or len(by_input(out)) == 301  # there is only ever a whole one
        summary = resumed(url, out, files)
    assert kills >= 2
    assert by_input(out) == by_input(whole)
    assert len(by_input(out)) == 301
    assert summary.outcomes == Counter(row.error.code if row.error else row.status for row in read_rows(whole))
    assert summary.found.kept > 50
    assert max(sent(peer).values()) <= 1 + kills


def test_only_what_is_missing_is_sent(files: Path, out: Path) -> None:
    peer = scores()
    with serve(peer) as url:
        # half a .pyc would be left behind as well
        no_bytecode = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
        with running(files, "--out", out, "--url", url, env=no_bytecode) as process:
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (8000, resource.RLIM_INFINITY))  # a disk soon full
            assert "rows.jsonl.journal cannot be written: File too large; --resume goes on" in said(process)
        assert process.returncode == 2
        assert not out.exists()
        lines = journal_path(out).read_bytes().splitlines(keepends=True)
        assert len(lines) > 5
        assert lines[-1].endswith(b"\n")
        peer.requests.clear()
        summary = resumed(url, out, files)
    assert summary.found.kept == len(lines) - 1
    assert len(peer.requests) == 40 - summary.found.kept
    assert len(by_input(out)) == 40
    assert f"{summary.found.kept} kept from before; " in summary.describe(out)


def test_an_interrupted_run_writes_its_rows_and_can_be_resumed(files: Path, out: Path) -> None:
    peer = scores(0.1)
    with serve(peer) as url:
        with running(files, "--out", out, "--url", url, "--concurrency", "2") as process:
            wait_until(lambda: len(peer.requests) > 4)
            process.send_signal(signal.SIGINT)
            assert "interrupted, the rest was not scored (--resume goes on)" in said(process)
        assert process.returncode == 130
        assert 4 < len(by_input(out)) == len(peer.requests) < 40
        assert journal_path(out).exists()
        assert resumed(url, out, files).exit_status == 0
    assert len(by_input(out)) == 40
    assert set(sent(peer).values()) == {1}
    assert not journal_path(out).exists()


def test_an_interrupt_does_not_wait_for_a_list_that_pauses(files: Path, out: Path) -> None:
    peer = scores()
    with serve(peer) as url, running("-", "--out", out, "--url", url, stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        process.stdin.write("".join(f"{files / f'{index}.jpg'}\n" for index in range(40)) * 2)
        process.stdin.flush()
        wait_until(lambda: len(peer.requests) > 4)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 128 + signal.SIGTERM
        assert process.stderr is not None
        text = process.stderr.read()
    assert text.splitlines()[-1].startswith("interrupted")
    assert "Traceback" not in text
    assert len(by_input(out)) >= 4


def test_a_server_that_failed_is_asked_again(files: Path, out: Path) -> None:
    def behave(request):
        if fails:
            raise RefusalError(grpc.StatusCode.INTERNAL, "out of memory")
        return answer_of(sent_image(request))

    peer, fails = Peer(behave), True
    (files / "text.jpg").symlink_to("nowhere")
    with serve(peer) as url:
        assert resumed(url, out, files).outcomes == {"internal": 40, "not_found": 1}
        fails = False
        summary = resumed(url, out, files)
    assert summary.found.kept == 1
    assert summary.outcomes == Counter(ok=summary.outcomes["ok"], no_face=summary.outcomes["no_face"], not_found=1)
    assert summary.exit_status == 1
    assert len(by_input(out)) == 41


def test_files_that_changed_went_or_came_since(files: Path, out: Path) -> None:
    peer = scores()
    with serve(peer) as url:
        resumed(url, out, files)
        peer.requests.clear()
        (files / "1.jpg").write_bytes(b"changed")
        (files / "2.jpg").unlink()
        (files / "new.jpg").write_bytes(b"new")
        summary = resumed(url, out, files, files / "3.jpg")
    assert sent(peer).keys() == {b"changed", b"new"}
    assert (summary.found.kept, summary.found.duplicates) == (38, 1)
    names = {Path(row.path).name for row in by_input(out).values()}
    assert names == {f"{index}.jpg" for index in range(40)} - {"2.jpg"} | {"new.jpg"}


def test_a_deleted_file_that_is_named_has_an_error(files: Path, out: Path) -> None:
    with serve(scores()) as url:
        resumed(url, out, files / "1.jpg", files / "2.jpg")
        (files / "2.jpg").unlink()
        assert resumed(url, out, files / "1.jpg", files / "2.jpg").outcomes["not_found"] == 1
    assert len(by_input(out)) == 2


def test_rows_of_a_table_are_told_apart_by_their_other_columns(files: Path, out: Path) -> None:
    table = files / "table.csv"
    lines = [f"{index}.jpg,{label}" for index in range(20) for label in ("real", "fake", "é\r", "real")]
    table.write_bytes("\n".join(["file,label", *(line.replace("é\r", '"é\r"') for line in lines)]).encode())
    peer = scores(0.05)
    with serve(peer) as url:
        with running(table, "--out", out, "--url", url, "--path-column", "file", "--concurrency", "4") as process:
            wait_until(lambda: len(peer.requests) > 20)
            process.kill()
        summary = resumed(url, out, table, path_column="file")
    rows = by_input(out).values()
    assert len(rows) == 60
    assert {row.columns["label"] for row in rows} == {"real", "fake", "é\r"}
    assert summary.found.duplicates == 20
    assert summary.found.kept > 0


def test_two_runs_do_not_write_one_result(files: Path, out: Path) -> None:
    peer = scores(0.1)
    with serve(peer) as url, running(files, "--out", out, "--url", url, "--concurrency", "2") as process:
        wait_until(lambda: len(peer.requests) > 4)
        for options in ({"resume": True}, {"overwrite": True}, {}):
            with pytest.raises(ConfigError, match="is in use by another run"):
                score_paths(ScoreRun(paths=[str(files)], out=out, urls=[url], **options))
        process.send_signal(signal.SIGINT)
        said(process)
    assert len(by_input(out)) == len(peer.requests)


def test_other_settings_are_refused_by_name_before_anything_is_sent(files: Path, out: Path) -> None:
    peer = scores()
    with serve(peer) as url:
        resumed(url, out, files)
        before = out.read_bytes()
        peer.requests.clear()
        with pytest.raises(ConfigError, match=r"parameters\.max_faces was not given, is 3"):
            resumed(url, out, files, options=ScoreOptions(parameters={"max_faces": 3}))
    assert not peer.requests
    assert out.read_bytes() == before
    assert not journal_path(out).exists()


def test_resume_and_overwrite_exclude_each_other(files: Path, out: Path) -> None:
    with pytest.raises(ConfigError, match="give one of them"):
        score_paths(ScoreRun(paths=[str(files)], out=out, resume=True, overwrite=True))


@pytest.mark.slow
def test_a_kill_while_the_real_server_scores(triton: RunningServer, tmp_path: Path, astronaut: np.ndarray) -> None:
    files, out, whole = tmp_path / "media", tmp_path / "rows.parquet", tmp_path / "whole.parquet"
    files.mkdir()
    for index in range(16):
        brightened = np.clip(astronaut * (0.6 + index / 30), 0, 255).astype(np.uint8)
        (files / f"{index}.jpg").write_bytes(jpeg(brightened))
    with running(files, "--out", out, "--url", triton.grpc_url, "--concurrency", "2") as process:
        wait_until(lambda: journal_path(out).exists() and journal_path(out).read_bytes().count(b"\n") > 4)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert not out.exists()
    summary = resumed(triton.grpc_url, out, files)
    assert 4 <= summary.found.kept < 16
    resumed(triton.grpc_url, whole, files)
    assert by_input(out).keys() == by_input(whole).keys()
    for name, row in by_input(whole).items():
        other = by_input(out)[name]
        assert other.p_fake == pytest.approx(row.p_fake, abs=2e-3)  # batches differ, and with them the last bits
        assert (other.sha256, other.num_faces, other.model) == (row.sha256, row.num_faces, row.model)
