"""Published weights as they lie on disk or on Hugging Face: tensors, settings, checksums. No code is run.

A source is a .safetensors file, a Lightning .ckpt, a folder with one of them, or
hf:owner/name@revision. config.json beside the file says what the tensors do not.
"""

from __future__ import annotations

import json
import logging
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from lnclip.errors import ArtifactError, ConfigError
from lnclip.identity import file_sha256
from training.published.downloading import FILES, PREFIX, VERIFIED, Located, configs_beside, fetch
from training.published.layouts import Tensors
from training.published.settings import Settings

log = logging.getLogger(__name__)

# GenD's configuration defaults to members of these, which are strings; torch alone would refuse them.
ENUMS: list[Callable[..., object] | tuple[Callable[..., object], str]] = [
    (str, f"src.config.{name}") for name in ("Backbone", "Head", "Optimizer", "InferenceStrategy")
]


@dataclass(frozen=True, kw_only=True)
class Published:
    """What a source holds."""

    tensors: Tensors
    settings: Settings
    inputs: dict[str, str]
    """SHA-256 by what the file is called."""


def read(source: str) -> Published:
    """Tensors and settings of a source.

    Raises:
        ConfigError: there is no such source, or it is not one of those that can be read.
        SetupError: it cannot be downloaded.
        ArtifactError: a file is damaged, has another checksum than it must have, or would run code.
    """
    located = fetch(source) if source.startswith(PREFIX) else _locate(Path(source))
    inputs = {located.called(path): file_sha256(path) for path in (located.weights, located.config) if path}
    digest = inputs[located.called(located.weights)]
    if digest in VERIFIED:
        log.info("%s is %s: its SHA-256 is the published one", located.weights.name, VERIFIED[digest])
    else:
        log.info("the SHA-256 of %s is %s: nothing to compare it with is known", located.weights.name, digest)
    try:
        tensors, settings = _read_weights(located.weights)
        raw = _read_config(located.config) | settings if located.config else settings
    except OSError as error:
        raise ArtifactError(f"{source} cannot be read: {error.strerror or error}") from error
    return Published(tensors=tensors, settings=Settings.parse(raw, located.repository), inputs=inputs)


def _locate(path: Path) -> Located:
    """The weights of a file or folder, and the configuration beside them.

    Raises:
        ConfigError: there is nothing, or no one choice.
    """
    if (path / "model.json").is_file():
        raise ConfigError(f"{path} is a run already: train it further with --set init={path}")
    if path.is_dir():
        found = [path / name for name in FILES if (path / name).is_file()]
        found = found[:1] or sorted([*path.glob("*.safetensors"), *path.glob("*.ckpt")])
        if len(found) != 1:
            names = ", ".join(file.name for file in found) or "none"
            raise ConfigError(f"{path} must hold one .safetensors or .ckpt file, it holds {names}: name the file")
        path = found[0]
    if path.suffix not in {".safetensors", ".ckpt"} or not path.is_file():
        raise ConfigError(f"{path} is no .safetensors or .ckpt file, nor a folder with one, nor hf:owner/name@revision")
    configs = [file for name in configs_beside(path.name) if (file := path.with_name(name)).is_file()]
    return Located(weights=path, config=configs[0] if configs else None)


def _read_weights(path: Path) -> tuple[Tensors, dict[str, object]]:
    """Tensors, and the settings that a Lightning checkpoint has beside them."""
    if path.suffix == ".ckpt":
        return _read_checkpoint(path)
    try:
        return load_file(path), {}
    except SafetensorError as error:
        raise ArtifactError(f"{path} is damaged: {error}") from error


def _read_checkpoint(path: Path) -> tuple[Tensors, dict[str, object]]:
    """``state_dict`` and ``hyper_parameters``; optimiser states and the rest are for Lightning.

    Raises:
        ArtifactError: it is damaged, no Lightning checkpoint, or holds more than data.
    """
    try:
        with torch.serialization.safe_globals(ENUMS):
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ArtifactError(f"{path} {_why_not_unpickled(path, error)}") from error
    except (RuntimeError, EOFError, ValueError, LookupError, AttributeError, TypeError) as error:
        raise ArtifactError(f"{path} {_damaged(error)}") from error
    tensors = loaded.get("state_dict") if isinstance(loaded, Mapping) else None
    if not isinstance(tensors, Mapping) or not all(isinstance(value, Tensor) for value in tensors.values()):
        raise ArtifactError(f"{path} is no Lightning checkpoint: it has no state_dict of tensors")
    return dict(tensors), dict(loaded.get("hyper_parameters", {}))


def _why_not_unpickled(path: Path, error: pickle.UnpicklingError) -> str:
    """In words; a file that would run code gets the way out."""
    try:
        with torch.serialization.safe_globals(ENUMS):
            classes = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except (RuntimeError, ValueError, LookupError, pickle.UnpicklingError):
        classes = []
    if not classes:
        return _damaged(error)
    return (
        f"holds objects of {', '.join(sorted(classes))}, and reading them would run code of whoever wrote the file. "
        "On a machine where you trust it: torch.save({'state_dict': torch.load(FILE, weights_only=False)['state_dict']}"
        ", 'clean.ckpt'), and give clean.ckpt with a config.json beside it that holds backbone and head"
    )


def _damaged(error: Exception) -> str:
    return "is damaged, or no Lightning checkpoint: " + str(error).partition("\n")[0]


def _read_config(path: Path) -> dict[str, object]:
    """A configuration as it is.

    Raises:
        ArtifactError: it is no JSON object.
    """
    try:
        raw = json.loads(path.read_bytes())
    except ValueError as error:
        raise ArtifactError(f"{path} is not JSON: {error}") from error
    if not isinstance(raw, dict):
        raise ArtifactError(f"{path} is not a JSON object")
    return raw
