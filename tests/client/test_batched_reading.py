"""Files that are wanted at the same moment are read in one turn of a thread; none waits for a video or a network."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from client import batched_reading
from client.batched_reading import MOST_TOGETHER, BatchedReading
from client.reading import ReadFile
from client.sources.finding import Found


class CountingThreads(ThreadPoolExecutor):
    """Counts turns."""

    turns = 0

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.turns += 1
        return super().submit(fn, *args, **kwargs)


@pytest.fixture
def threads() -> Iterator[CountingThreads]:
    with CountingThreads(4) as pool:
        yield pool


def files(folder: Path, *names: str) -> list[Found]:
    for name in names:
        (folder / name).write_bytes(name.encode())
    return [Found(str(folder / name), "input") for name in names]


def read(threads: CountingThreads, finds: list[Found]) -> list[ReadFile]:
    async def reading() -> list[ReadFile]:
        reader = BatchedReading(threads)
        return [await file for file in [reader.read(found) for found in finds]]

    return asyncio.run(asyncio.wait_for(reading(), 30))


def test_each_gets_its_own_file(tmp_path: Path, threads: CountingThreads) -> None:
    finds = files(tmp_path, *(f"{index}.jpg" for index in range(MOST_TOGETHER + 1)))
    answers = read(threads, finds)
    assert [answer.content for answer in answers] == [Path(found.path).name.encode() for found in finds]
    assert answers[3].facts.sha256 == hashlib.sha256(b"3.jpg").hexdigest()
    assert threads.turns == 2


def test_a_missing_file_leaves_its_neighbours_alone(tmp_path: Path, threads: CountingThreads) -> None:
    first, lost, last = files(tmp_path, "a.jpg", "b.jpg", "c.jpg")
    Path(lost.path).unlink()
    assert [file.error and file.error.code for file in read(threads, [first, lost, last])] == [None, "not_found", None]


def test_no_image_waits_for_a_video(tmp_path: Path, threads: CountingThreads) -> None:
    read(threads, files(tmp_path, "a.jpg", "b.mp4", "c.png", "d.unknown"))
    assert threads.turns == 3  # the two images together


def test_what_goes_wrong_in_a_turn_is_told_to_all_of_it(
    tmp_path: Path, threads: CountingThreads, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(found: Found) -> ReadFile:
        raise MemoryError

    monkeypatch.setattr(batched_reading, "read_input", fail)

    async def reading() -> list[ReadFile | BaseException]:
        reader = BatchedReading(threads)
        wanted = [reader.read(found) for found in files(tmp_path, "a.jpg", "b.jpg")]
        return await asyncio.wait_for(asyncio.gather(*wanted, return_exceptions=True), 30)

    assert [type(outcome) for outcome in asyncio.run(reading())] == [MemoryError, MemoryError]


def test_one_that_is_not_waited_for_any_more_holds_up_nobody(tmp_path: Path, threads: CountingThreads) -> None:
    async def reading() -> ReadFile:
        reader = BatchedReading(threads)
        given_up, wanted = [reader.read(found) for found in files(tmp_path, "a.jpg", "b.jpg")]
        given_up.cancel()
        return await asyncio.wait_for(wanted, 30)

    assert asyncio.run(reading()).content == b"b.jpg"
