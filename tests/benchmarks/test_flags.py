"""Ranges are perf_analyzer's; what is none is refused by name."""

from __future__ import annotations

import pytest

from benchmarks import flags
from lnclip.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "values"),
    [("4", [4]), ("1:4", [1, 2, 3, 4]), ("1:16:5", [1, 6, 11, 16]), ("0.5:1.5:0.5", [0.5, 1.0, 1.5])],
)
def test_a_range_holds_both_ends(text: str, values: list[float]) -> None:
    assert [(load.kind, load.value) for load in flags.loads("request_rate", text)] == [
        ("request_rate", value) for value in values
    ]


@pytest.mark.parametrize("text", ["", "a", "1:2:3:4", "1:2:0", "5:1", "1:1000", "1:nan"])
def test_what_is_no_range_is_named(text: str) -> None:
    with pytest.raises(ConfigError, match="START:END:STEP"):
        flags.loads("concurrency", text)


def test_lists_are_read_or_refused() -> None:
    assert flags.numbers("1,8,32") == [1, 8, 32]
    with pytest.raises(ConfigError, match="1,8,32"):
        flags.numbers("1;8")
    assert flags.precisions("fp32,int8") == ["fp32", "int8"]
    with pytest.raises(ConfigError, match="fp64"):
        flags.precisions("fp32,fp64")
