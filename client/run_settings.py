"""What decides the scores of a run, kept with its rows: later rows may join them only under the same settings.

It is the first line of a journal, and OUT.settings.json beside a finished result.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, JsonValue, ValidationError

from client.rows import FROZEN
from lnclip.errors import ConfigError

FOLDER_SETTINGS = "_settings.json"
"""Where they are in a folder of parts."""


class RunSettings(BaseModel):
    """One line of JSON."""

    model_config = FROZEN

    journal: Literal[1] = 1
    """The version of what follows it."""

    settings: dict[str, JsonValue]
    """``ScoreOptions.deciding``."""

    def check_same(self, text: bytes, path: Path) -> None:
        """See whether rows that were scored as ``text`` says may stand beside rows of these settings.

        Args:
            text: such a line, of an earlier run.
            path: where it was read.

        Raises:
            ConfigError: it is none, or other settings; the message names what differs.
        """
        try:
            before = RunSettings.model_validate_json(text)
        except ValidationError as error:
            raise ConfigError(
                f"{path} does not say how rows were scored: move it away, or score all again with --overwrite"
            ) from error
        old, new = _flat(before.settings), _flat(self.settings)
        changes = [
            f"{name} was {old.get(name, 'not given')}, is {new.get(name, 'not given')}"
            for name in sorted(old.keys() | new.keys())
            if old.get(name) != new.get(name)
        ]
        if changes:
            raise ConfigError(
                f"{path} is of a run with other settings ({'; '.join(changes)}): give the same ones, name another "
                "--out, or score all again with --overwrite"
            )

    def line(self) -> bytes:
        """As ``check_same`` reads it."""
        return self.model_dump_json().encode() + b"\n"


def settings_path(out: Path) -> Path:
    """Where the settings of a result are."""
    return out.with_name(f"{out.name}.settings.json")


def recorded_settings(out: Path) -> dict[str, JsonValue]:
    """How a result was scored, by names with dots; empty where nothing beside it (in it, of a folder) says so."""
    path = out / FOLDER_SETTINGS if out.is_dir() else settings_path(out)
    try:
        return _flat(RunSettings.model_validate_json(path.read_bytes()).settings)
    except (OSError, ValidationError):
        return {}


def _flat(settings: Mapping[str, JsonValue], prefix: str = "") -> dict[str, JsonValue]:
    """Nested settings by names with dots."""
    flat: dict[str, JsonValue] = {}
    for name, value in settings.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return flat
