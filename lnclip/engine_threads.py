"""How many threads and streams the served CPU encoder has: parameters of its config.pbtxt.

Without them the engine decides: all cores, one batch at a time. ``python -m benchmarks tune`` finds better ones
where there are any.
"""

from __future__ import annotations

import json
from typing import NamedTuple

from lnclip.errors import ConfigError


class EngineThreads(NamedTuple):
    """What ``engines.OpenVinoRunner`` takes; None leaves it to the engine."""

    threads: int | None = None
    streams: int | None = None
    """Parts of a batch that are computed side by side."""

    @classmethod
    def parse(cls, model_config: str) -> EngineThreads:
        """Read the parameters "threads" and "streams".

        Args:
            model_config: Triton's JSON of the model's configuration.

        Raises:
            ConfigError: one of them is no whole number from 1 up.
        """
        parameters = json.loads(model_config).get("parameters", {})
        found: dict[str, int] = {}
        for name in cls._fields:
            if name not in parameters:
                continue
            text = parameters[name]["string_value"]
            if not (text.isascii() and text.isdecimal() and int(text) > 0):
                raise ConfigError(f"the parameter {name} is {text!r}, must be a whole number from 1 up")
            found[name] = int(text)
        return cls(**found)
