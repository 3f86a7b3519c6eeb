"""The served encoder's parameters "threads" and "streams"."""

import json

import pytest

from lnclip.engine_threads import EngineThreads
from lnclip.errors import ConfigError


def config(**parameters: str) -> str:
    return json.dumps({"parameters": {name: {"string_value": value} for name, value in parameters.items()}})


def test_without_parameters_the_engine_decides():
    assert EngineThreads.parse(config()) == (None, None)
    assert EngineThreads.parse("{}") == (None, None)
    assert EngineThreads.parse(config(other="x")) == (None, None)


def test_each_is_read_by_its_name():
    assert EngineThreads.parse(config(threads="3")) == EngineThreads(threads=3)
    assert EngineThreads.parse(config(streams="2", threads="4")) == EngineThreads(threads=4, streams=2)


@pytest.mark.parametrize("text", ["0", "-1", "two", "", "1.5", "٣", " 2"])
def test_what_is_no_count_is_named(text):
    with pytest.raises(ConfigError, match=r"parameter streams is .* whole number from 1 up"):
        EngineThreads.parse(config(threads="1", streams=text))
