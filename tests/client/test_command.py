"""``python -m client`` as a user meets it: files, exit status, what is said where."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import typer

from client.__main__ import app
from client.readers import read_rows
from tests.client.peer import Peer, after, ensemble_answer, serve, slow
from tests.conftest import ROOT


def client(*arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*arguments), capture_output=True, text=True, timeout=60, check=False, **options)


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "client", *map(str, arguments)]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    folder = tmp_path / "media"
    folder.mkdir()
    for index in range(8):
        (folder / f"{index}.jpg").write_bytes(b"picture %d" % index)
    (folder / "index.csv").write_text("path,label\n")
    return folder


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "rows.jsonl"


def test_all_scored_is_status_0_and_a_summary_on_stderr(files: Path, out: Path) -> None:
    with serve(Peer(after([]))) as url:
        done = client("score", files, "--out", out, "--url", url)
    assert (done.returncode, done.stdout) == (0, "")
    assert "8 ok, 0 no_face, 0 error; 1 skipped" in done.stderr
    assert len(list(read_rows(out))) == 8


@pytest.mark.parametrize(
    ("flags", "idle"),
    [
        (["--local", "--url", "host:1"], "--url"),
        (["--two-calls", "--crops"], "--two-calls"),
        (["--spec", "model.json"], "--spec"),
        (["--repository", "build"], "--repository"),
    ],
)
def test_a_flag_that_would_do_nothing_is_refused(files: Path, out: Path, flags: list[str], idle: str) -> None:
    done = client("score", files, "--out", out, *flags)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {idle} does nothing with these other flags")


def test_a_file_that_fails_is_status_1(files: Path, out: Path) -> None:
    with serve(Peer(after([]))) as url:
        done = client("score", files, files / "gone.jpg", files / "1.jpg", "--out", out, "--url", url)
    assert done.returncode == 1
    assert "8 ok, 0 no_face, 1 error (1 not_found); 1 skipped" in done.stderr
    assert "1 found twice" in done.stderr
    assert len(list(read_rows(out))) == 9


def test_an_unreachable_server_is_status_2_one_line_and_no_file(files: Path, out: Path) -> None:
    done = client("score", files, "--out", out, "--url", "127.0.0.1:9")
    assert done.returncode == 2
    assert done.stderr.startswith("error: no Triton answers at 127.0.0.1:9")
    assert done.stderr.count("\n") == 1
    assert not out.exists()


def test_no_running_server_and_no_url_is_status_2(files: Path, out: Path, tmp_path: Path) -> None:
    done = client("score", files, "--out", out, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert done.returncode == 2
    assert "python -m server start" in done.stderr


def test_an_existing_result_is_kept_unless_told(files: Path, out: Path) -> None:
    out.write_text("precious")
    with serve(Peer(after([]))) as url:
        refused = client("score", files, "--out", out, "--url", url)
        assert (refused.returncode, out.read_text()) == (2, "precious")
        assert list(out.parent.iterdir()) == [files, out]
        assert client("score", files, "--out", out, "--url", url, "--overwrite").returncode == 0
    assert len(list(read_rows(out))) == 8


def test_an_interrupt_finishes_what_is_in_flight(files: Path, out: Path) -> None:
    peer = Peer(slow(1.0))
    with serve(peer) as url:
        running = subprocess.Popen(
            command("score", files, "--out", out, "--url", url, "--concurrency", "2"), stderr=subprocess.PIPE, text=True
        )
        while not peer.requests:
            time.sleep(0.02)
        running.send_signal(signal.SIGINT)
        _, said = running.communicate(timeout=20)
    assert running.returncode == 130
    assert "interrupted, the rest was not scored" in said
    assert "Traceback" not in said
    assert len(list(read_rows(out))) == len(peer.requests) < 8


def test_log_lines_without_a_terminal_and_a_bar_on_one(files: Path, out: Path) -> None:
    import pty

    terminal, side = pty.openpty()
    with serve(Peer(slow(0.05))) as url:
        running = subprocess.Popen(
            command("score", files, "--out", out, "--url", url, "--concurrency", "1"),
            stderr=side,
            env={**os.environ, "TERM": "xterm", "COLUMNS": "120"},
        )
        os.close(side)
        shown = b""
        try:
            while chunk := os.read(terminal, 4096):
                shown += chunk
        except OSError:  # the terminal's other end is closed
            pass
        running.wait(timeout=20)
    assert running.returncode == 0
    for words in (b"of 8 files", b"files/s", b"faces/s", b"errors", b"left"):
        assert words in shown


def test_every_command_and_flag_is_documented() -> None:
    page = (ROOT / "docs" / "CLIENT.md").read_text(encoding="utf-8")
    group = typer.main.get_command(app)
    for name, each in group.commands.items():
        assert f"python -m client {name}" in page
        for parameter in each.params:
            for flag in parameter.opts:
                if flag.startswith("--") and flag != "--help":
                    assert f"`{flag}" in page, f"{name} {flag}"


def test_the_examples_of_the_documentation_run(tmp_path: Path, files: Path) -> None:
    page = (ROOT / "docs" / "CLIENT.md").read_text(encoding="utf-8")
    code = page.split("```python\n")[1].split("```")[0]
    (files / "0.jpg").rename(tmp_path / "photo.jpg")
    files.rename(tmp_path / "photos")
    with serve(Peer(lambda _: ensemble_answer())) as url:
        given = code.replace("Scorer()", f"Scorer({url!r})")
        assert given != code
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [sys.executable, "-c", given], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
    assert done.returncode == 0, done.stderr
    assert "fake 0.7" in done.stdout
