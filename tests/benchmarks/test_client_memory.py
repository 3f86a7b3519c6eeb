"""The record of the client's memory: what it watches is the real command on a real server."""

import json

import pytest

from benchmarks.client_memory import Growth, judged, run_client_memory


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
    [figure] = json.loads(path.read_text())["figures"]
    assert (figure["what"], figure["device"]) == ("client memory while scoring 20 files", "cpu")


def test_growth_shows_between_the_quarters() -> None:
    grown = Growth("a leak", 8, 8.0, [10, 20, 30, 40, 50, 60, 70, 80], peak_mb=81)
    assert grown.quarters_mb == (35, 75)


@pytest.mark.parametrize(
    ("last_mb", "peak_mb", "met"), [(104.0, 399.0, True), (106.0, 399.0, False), (104.0, 401.0, False)]
)
def test_the_client_must_stay_flat_and_below_the_limit(last_mb: float, peak_mb: float, met: bool) -> None:
    listing = Growth("listing a text list", 9, 2.0, [100.0] * 4, peak_mb=110.0)
    scoring = Growth("scoring images", 7, 2.0, [90.0, 100.0, 100.0, last_mb], peak_mb)
    figure = judged([listing, scoring], 400)
    assert figure.what == "client memory while scoring 7 files"
    assert figure.target == "at most 400 MB, flat in the number of files"
    assert figure.met is met
