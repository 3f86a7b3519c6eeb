from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Callable, Iterator, Sequence

import pytest

from client.answers import error_row
from client.limits import Limit
from client.pipeline import Pipeline, Standing
from client.reading import FileFacts
from client.rows import Row, RowError
from client.sources.finding import Found
from lnclip.errors import ConfigError

ANSWER_S = 0.01


def inputs(number: int | None = None) -> Iterator[Found]:
    """So many, or without end."""
    return (Found(f"{index}", "input") for index in (itertools.count() if number is None else range(number)))


class Scores:
    """Takes a while, and counts what is in flight."""

    def __init__(self) -> None:
        self.in_flight = self.most_in_flight = 0
        self.chunks: list[int] = []

    async def __call__(self, chunk: list[Found]) -> list[Row]:
        self.chunks.append(len(chunk))
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        await asyncio.sleep(ANSWER_S)
        self.in_flight -= 1
        return [error_row(FileFacts(found.path), RowError(code="none", message=""), 0) for found in chunk]


def collect(pipeline: Pipeline, look: Callable[[list[Row]], None] = lambda rows: None) -> list[str]:
    async def collecting() -> list[str]:
        paths = []
        async for rows in pipeline.run():
            await asyncio.sleep(0)  # as whoever stores them waits for the disk
            look(rows)
            paths += [row.path for row in rows]
        return paths

    return asyncio.run(asyncio.wait_for(collecting(), 30))


def test_every_input_has_its_row_whatever_the_chunks() -> None:
    score = Scores()
    paths = collect(Pipeline(inputs(100), score, limit=Limit(3), chunk_size=32))
    assert sorted(paths) == sorted(f"{index}" for index in range(100))
    assert sorted(score.chunks) == [4, 32, 32, 32]


def test_a_few_more_than_may_be_sent_are_in_flight_and_follow_the_limit() -> None:
    score, limit = Scores(), Limit(4)
    most: dict[int, int] = {}

    def look(rows: list[Row]) -> None:
        limit.value = 4 if len(score.chunks) < 100 else 10
        most[limit.value] = max(most.get(limit.value, 0), score.in_flight)

    collect(Pipeline(inputs(400), score, limit=limit, chunk_size=1), look)
    assert most == {4: 6, 10: 15}


def test_the_search_waits_for_the_scoring() -> None:
    taken = itertools.count()
    endless = (found for found in inputs() if next(taken) >= 0)
    pipeline = Pipeline(endless, Scores(), limit=Limit(4), chunk_size=1)
    done = itertools.count()

    def look(rows: list[Row]) -> None:
        if rows and next(done) == 50:
            pipeline.stop()

    paths = collect(pipeline, look)
    assert next(taken) <= len(paths) + 2 * 64 + 6


def test_stopping_does_not_wait_for_a_search_that_is_stuck() -> None:
    over = threading.Event()

    def stuck() -> Iterator[Found]:
        yield from inputs(64)
        over.wait(60)

    pipeline = Pipeline(stuck(), Scores(), limit=Limit(4), chunk_size=1)
    paths = collect(pipeline, lambda rows: pipeline.stop() if rows else None)
    over.set()
    assert 0 < len(paths) < 64


def test_trouble_of_the_search_is_raised() -> None:
    def failing() -> Iterator[Found]:
        yield from inputs(3)
        raise ConfigError("no such column")

    with pytest.raises(ConfigError, match="no such column"):
        collect(Pipeline(failing(), Scores(), limit=Limit(4), chunk_size=1))


def test_trouble_of_the_scoring_is_raised() -> None:
    async def failing(chunk: list[Found]) -> list[Row]:
        raise KeyError(chunk[0].path)

    with pytest.raises(KeyError):
        collect(Pipeline(inputs(3), failing, limit=Limit(4), chunk_size=1))


def test_only_new_inputs_are_scored_and_all_are_counted() -> None:
    standings: dict[str, Standing] = {"0": "new", "1": "kept", "2": "duplicate", "3": "new"}
    finds = [*inputs(4), Found("link", "duplicate"), Found("text", "skipped"), Found("text", "skipped")]

    def recall(found: Sequence[Found]) -> list[Standing]:
        return [standings[each.path] for each in found]

    pipeline = Pipeline(iter(finds), Scores(), limit=Limit(4), chunk_size=1, recall=recall)
    assert sorted(collect(pipeline)) == ["0", "3"]
    count = pipeline.count
    assert (count.inputs, count.kept, count.duplicates, count.skipped, count.finished) == (3, 1, 2, 2, True)


def test_requests_are_in_flight_while_rows_are_stored() -> None:
    score = Scores()
    in_flight: list[int] = []
    collect(
        Pipeline(inputs(64), score, limit=Limit(4), chunk_size=1),
        lambda rows: in_flight.append(score.in_flight) if rows else None,
    )
    assert in_flight[0] == 6


def test_places_that_became_free_are_taken_together_and_the_server_keeps_enough() -> None:
    began: list[int] = []
    held: list[int] = []
    in_flight = 0

    async def score(chunk: list[Found]) -> list[Row]:
        nonlocal in_flight
        in_flight += 1
        began.append(int(chunk[0].path))
        await asyncio.sleep(0.02 + 0.002 * began[-1])  # one after the other
        held.append(in_flight)
        in_flight -= 1
        return [error_row(FileFacts(found.path), RowError(code="none", message=""), 0) for found in chunk]

    steps: list[int] = []
    collect(Pipeline(inputs(120), score, limit=Limit(16), chunk_size=1), lambda rows: steps.append(len(began)))
    grown = [after - before for before, after in itertools.pairwise(steps) if after > before]
    assert min(grown[1:-1]) >= 8  # 24 are read or at the server, 16 of them at the server
    assert sum(held[:96]) / 96 >= 16
