"""A training configuration's TOML file: read, overridden, and its mistakes said in words."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ValidationError

from lnclip.errors import ConfigError
from lnclip.spec import PreprocessSpec
from training.config import Augmentation, Lora, Slerp, TrainConfig


def read_config(path: Path, overrides: Sequence[str] = ()) -> TrainConfig:
    """Read a TOML file and apply ``key=value`` overrides, values as TOML or as bare words.

    Raises:
        ConfigError: the file cannot be read, a key is unknown, or a value cannot be.
    """
    try:
        settings = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not a TOML file: {error}") from error
    for override in overrides:
        _apply(settings, override)
    try:
        return TrainConfig.model_validate(settings)
    except ValidationError as error:
        complaints = "; ".join(_complaint(issue["type"], issue["loc"], issue["msg"]) for issue in error.errors())
        raise ConfigError(f"{path}: {complaints}") from error


def _apply(settings: dict[str, object], override: str) -> None:
    """Set one key, dotted for tables, in place.

    Raises:
        ConfigError: it is not ``key=value``, or goes through a key that is no table.
    """
    dotted, separator, text = override.partition("=")
    *tables, key = dotted.strip().split(".")
    if not separator or not key:
        raise ConfigError(f"--set {override}: must be key=value, for example --set epochs=3")
    try:
        value: object = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()  # a bare word or path: --set tune=full
    for name in tables:
        inner = settings.setdefault(name, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"--set {override}: {name} is not a table")
        settings = inner
    settings[key] = value


def _complaint(kind: str, location: tuple[int | str, ...], message: str) -> str:
    """One validation error in words; an unknown key gets the nearest known one."""
    dotted = ".".join(map(str, location))
    if not location:
        return message.removeprefix("Value error, ")
    if kind != "extra_forbidden":
        return f"{dotted}: {message}"
    tables: dict[str, type[BaseModel]] = {
        "augmentation": Augmentation,
        "lora": Lora,
        "slerp": Slerp,
        "spec": PreprocessSpec,
    }
    model: type[BaseModel] = tables[str(location[0])] if len(location) > 1 else TrainConfig
    fields = model.model_fields
    near = difflib.get_close_matches(str(location[-1]), fields, n=1)
    return f"{dotted} is not a known key" + (f"; did you mean {near[0]}?" if near else f"; known: {', '.join(fields)}")
