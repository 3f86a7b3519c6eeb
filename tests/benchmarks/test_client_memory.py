"""The record of the client's memory: what it watches is the real command on a real server."""

import json

import pytest

from benchmarks.client_memory import Growth, run_client_memory


@pytest.mark.slow
def test_the_client_is_watched_while_it_lists_and_scores(tmp_path) -> None:
    text = run_client_memory(20_000, 20, tmp_path)
    [path] = tmp_path.glob("*_client_memory.json")
    samples = json.loads(path.read_text())["samples"]
    assert [(each["what"], each["inputs"]) for each in samples] == [
        ("listing a text list", 20_000),
        ("listing a CSV table", 20_000),
        ("scoring images", 10),
        ("scoring ready crops", 10),
    ]
    assert [each for each in samples if not 20 < each["peak_mb"] < 400] == []
    assert "scoring ready crops" in text


def test_growth_shows_between_the_quarters() -> None:
    grown = Growth("a leak", 8, 8.0, [10, 20, 30, 40, 50, 60, 70, 80], peak_mb=81)
    assert grown.quarters_mb == (35, 75)
