"""Runs of the scoring client against a peer, in a process of their own or in this one."""

from __future__ import annotations

import subprocess
import sys
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from client import Row, read_rows
from client.job import ScoreRun, Summary, score_paths
from tests.client.peer import Peer, ensemble_answer, sent_image


def answer_of(content: bytes) -> dict[str, np.ndarray]:
    """Its own for each content; every seventh has no face."""
    checksum = zlib.crc32(content)
    return ensemble_answer((checksum % 1000 / 1000,) if checksum % 7 else ())


def scores(pause_s: float = 0.0) -> Peer:
    def behave(request):
        time.sleep(pause_s)
        return answer_of(sent_image(request))

    return Peer(behave)


def write_files(folder: Path, number: int) -> Path:
    folder.mkdir()
    for index in range(number):
        (folder / f"{index}.jpg").write_bytes(b"picture %d" % index)
    return folder


@contextmanager
def running(*arguments: object, **options: object) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "client", "score", *map(str, arguments)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, **options)
    with process:
        try:
            yield process
        finally:
            process.kill()


def said(process: subprocess.Popen[str]) -> str:
    return process.communicate(timeout=60)[1]


def wait_until(is_so: Callable[[], bool]) -> None:
    end_s = time.monotonic() + 30
    while not is_so():
        assert time.monotonic() < end_s
        time.sleep(0.005)


def resumed(url: str, out: Path, *paths: object, **options: object) -> Summary:
    """In this process, which is faster."""
    return score_paths(ScoreRun(paths=[str(path) for path in paths], out=out, resume=True, urls=[url], **options))


def by_input(rows: Path) -> dict[str, Row]:
    """All that must not depend on what happened on the way; each input once."""
    found = [row.model_copy(update={"elapsed_ms": 0.0}) for row in read_rows(rows)]
    keyed = {f"{row.path} {sorted(row.columns.items())}": row for row in found}
    assert len(keyed) == len(found)
    return keyed


def sent(peer: Peer) -> Counter[bytes]:
    return Counter(sent_image(request) for request in peer.requests)
