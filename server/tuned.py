"""REPOSITORY/tuned.json: settings that ``benchmarks tune`` found on one machine, for the CPU flavour's configs.

``server init`` sets them in the configs that it makes, every time; remove the file and run it again to go back to
the committed settings. Values are changed in the text, so that the comments stay.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from google.protobuf import text_format  # type: ignore[import-untyped]
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from tritonclient.grpc import model_config_pb2

from lnclip.errors import ConfigError

log = logging.getLogger(__name__)

FILE = "tuned.json"
"""In the repository itself: Triton looks at folders alone there."""

CONFIG = "configs/cpu.pbtxt"
"""Of each model; other flavours are not this machine's."""

COUNT = re.compile(r"(^instance_group\b[^#]*?\bcount:\s*)\d+", re.MULTILINE)
BATCHER = re.compile(r"(^dynamic_batching\s*\{)", re.MULTILINE)
PREFERRED = re.compile(r"(?<=\bpreferred_batch_size:)\s*(\[[\d\s,]*\]|\d+)")
DELAY = re.compile(r"(?<=\bmax_queue_delay_microseconds:)\s*\d+")

Line = Annotated[str, Field(pattern=r"^[^\r\n]*$")]
"""It goes into a comment."""


class ModelTuning(BaseModel):
    """One model's settings; what is None stays as committed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    instances: int | None = Field(None, ge=1)
    preferred_batch: int | None = Field(None, ge=1)
    """The dynamic batcher gathers no more than this, yet a larger request still passes: max_batch_size is also how
    many faces an image may have, and stays. Seen on 2.51.0: with a queue delay above 0, batches that waited longer
    than that are joined up to max_batch_size all the same."""

    queue_delay_us: int | None = Field(None, ge=0)
    threads: int | None = Field(None, ge=1)
    streams: int | None = Field(None, ge=1)
    """Of the encoder's engine, as ``lnclip.engine_threads`` reads them."""

    @classmethod
    def of(cls, config: Any) -> ModelTuning:  # noqa: ANN401 - protobuf's generated classes are untyped
        """What a config says, with None for what it does not mention."""
        given = {name: int(config.parameters[name].string_value) for name in _PARAMETERS if name in config.parameters}
        if config.instance_group:
            given["instances"] = sum(max(group.count, 1) for group in config.instance_group)
        if config.HasField("dynamic_batching"):
            given["queue_delay_us"] = config.dynamic_batching.max_queue_delay_microseconds
            if config.dynamic_batching.preferred_batch_size:
                given["preferred_batch"] = max(config.dynamic_batching.preferred_batch_size)
        return cls(**given)


_PARAMETERS = ("threads", "streams")


class Tuned(BaseModel):
    """The file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    record: Line
    """File name of the benchmark's record: the evidence."""

    processor: Line
    cores: int
    """Where it was measured."""

    models: Mapping[str, ModelTuning]

    @classmethod
    def load(cls, repository: Path) -> Tuned | None:
        """The repository's, or None; with a warning when it is of another kind of machine.

        Raises:
            ConfigError: the file cannot be read.
        """
        path = repository / FILE
        try:
            tuned = cls.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValidationError) as error:
            raise ConfigError(f"{path} cannot be read: {error}. Remove it, and tune again.") from error
        cores = len(os.sched_getaffinity(0))
        if tuned.cores != cores:
            log.warning("%s is for %d cores, here are %d: tune again here, or remove it", path, tuned.cores, cores)
        return tuned

    def text(self) -> str:
        """As it is written."""
        return self.model_dump_json(indent=2, exclude_none=True) + "\n"

    def applied(self, model: str, file: str, text: str) -> str:
        """One config of a model with its settings, and a line that says where they come from.

        Raises:
            ConfigError: the config has no place for one of them.
        """
        tuning = self.models.get(model, ModelTuning())
        if file != CONFIG or tuning == ModelTuning():
            return text
        told = ", ".join(f"{name} {value}" for name, value in tuning.model_dump(exclude_none=True).items())
        heading = f"# Tuned for {self.processor}, {self.cores} cores: {told}. Evidence: {self.record}"
        return f"{heading}; kept in {FILE}.\n{set_values(text, tuning)}"


def set_values(text: str, tuning: ModelTuning) -> str:
    """A config's text with other values, its comments and its layout kept.

    Raises:
        ConfigError: the text has no place for one of them, or cannot be parsed.
    """
    edited = text
    if tuning.instances is not None:
        edited = COUNT.sub(rf"\g<1>{tuning.instances}", edited, count=1)
    if tuning.preferred_batch is not None:
        edited = _in_batcher(edited, "preferred_batch_size", PREFERRED, f"[ {tuning.preferred_batch} ]")
    if tuning.queue_delay_us is not None:
        edited = _in_batcher(edited, "max_queue_delay_microseconds", DELAY, str(tuning.queue_delay_us))
    for name in _PARAMETERS:
        if (value := getattr(tuning, name)) is not None:
            edited = _set_parameter(edited, name, value)
    if _parsed(edited) != _wanted(_parsed(text), tuning):
        raise ConfigError(f"a config of the model repository has no place for {tuning!r}: remove {FILE}")
    return edited


def _in_batcher(text: str, field: str, value_pattern: re.Pattern[str], value: str) -> str:
    if value_pattern.search(text):
        return value_pattern.sub(f" {value}", text, count=1)
    return BATCHER.sub(rf"\g<1> {field}: {value}", text, count=1)


def _set_parameter(text: str, name: str, value: int) -> str:
    there = re.compile(rf'(\bkey:\s*"{name}"\s*value:?\s*\{{\s*string_value:\s*)"[^"]*"')
    if there.search(text):
        return there.sub(rf'\g<1>"{value}"', text, count=1)
    return f'{text.rstrip()}\nparameters {{ key: "{name}" value {{ string_value: "{value}" }} }}\n'


def _parsed(text: str) -> Any:  # noqa: ANN401 - as above
    try:
        return text_format.Parse(text, model_config_pb2.ModelConfig())
    except text_format.ParseError as error:
        raise ConfigError(f"no model configuration: {error}") from error


def _wanted(config: Any, tuning: ModelTuning) -> Any:  # noqa: ANN401 - as above
    """The same change made in the message: what the edited text must say."""
    if tuning.instances is not None:
        del config.instance_group[1:]  # more groups than one, or none, have no place for one number
        (config.instance_group[0] if config.instance_group else config.instance_group.add()).count = tuning.instances
    if tuning.preferred_batch is not None:
        config.dynamic_batching.preferred_batch_size[:] = [tuning.preferred_batch]
    if tuning.queue_delay_us is not None:
        config.dynamic_batching.max_queue_delay_microseconds = tuning.queue_delay_us
    for name in _PARAMETERS:
        if (value := getattr(tuning, name)) is not None:
            config.parameters[name].string_value = str(value)
    return config
