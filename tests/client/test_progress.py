from __future__ import annotations

import io
import logging
import time

import pytest
from rich.console import Console

from client.pipeline import FoundCount
from client.progress import Tally, show_progress
from client.sources.finding import Found


def shown(paths: list[str], found: FoundCount) -> str:
    """What a terminal got to see."""
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=120)
    with show_progress(paths, console) as show:
        time.sleep(0.05)  # the count's thread
        show(Tally(ok=7, errors=1), found)
        console.print()
    return screen.getvalue()


@pytest.fixture
def ten_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "client.progress.find", lambda paths: iter([Found("a", "input")] * 10 + [Found("b", "skipped")])
    )


@pytest.mark.usefixtures("ten_files")
def test_files_are_counted_ahead() -> None:
    assert "8 of 10 files  " in shown(["photos"], FoundCount(inputs=9))


@pytest.mark.usefixtures("ten_files")
@pytest.mark.parametrize("path", ["-", "list.txt", "Table.CSV", "table.parquet", "s3://bucket/photos"])
def test_what_is_better_read_once_is_not(path: str) -> None:
    assert "8 of 9+ files  " in shown(["photos", path], FoundCount(inputs=9))


def test_what_an_earlier_run_scored_is_told_apart() -> None:
    text = shown(["-"], FoundCount(inputs=1209, kept=1200, finished=True))
    assert "1,208 of 1,209 files (1,200 kept from before)" in text


def test_a_log_says_the_same(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr("client.progress.LOG_EVERY_S", 0)
    with caplog.at_level(logging.INFO), show_progress(["-"], Console(file=io.StringIO())) as show:
        show(Tally(ok=7, errors=1), FoundCount(inputs=1300, kept=1200))
    assert caplog.messages[0].startswith("1,208 files (1,300 found so far) done (1,200 kept from before), ")
