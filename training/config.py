"""What a training run is told: a frozen value, read from a TOML file.

Paths are relative to the folder that the command runs in.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from lnclip.architecture import KNOWN, Activation
from lnclip.errors import ConfigError
from lnclip.spec import PreprocessSpec

Tune = Literal["layernorm", "full"]
FROZEN = ConfigDict(frozen=True, extra="forbid")


class Augmentation(BaseModel):
    """How a crop is varied each time it is seen; zeros switch a step off."""

    model_config = FROZEN

    flip: float = Field(0.5, ge=0, le=1)
    """Probability of mirroring left and right."""

    rotate_deg: float = Field(10, ge=0, le=180)
    """Rotation is uniform in plus or minus this."""

    shift: float = Field(0.1, ge=0, le=1)
    """Translation per axis, fraction of the side, uniform in plus or minus this."""

    zoom: float = Field(0.1, ge=0, lt=1)
    """Scale is uniform in 1 minus to 1 plus this."""

    brightness: float = Field(0.1, ge=0, lt=1)
    """All values are multiplied by 1 minus to 1 plus this."""

    contrast: float = Field(0.1, ge=0, lt=1)
    """Distances from the mean grey are multiplied likewise."""


class TrainConfig(BaseModel):
    """One training run. A key this class does not know is an error, not a default."""

    model_config = FROZEN

    train_index: Path
    """CSV index of aligned face crops."""

    val_index: Path | None = None
    """CSV index of crops that are scored when training is done."""

    init: str = "random"
    """Weights to start from: "random", or a run's folder."""

    encoder: str = "demo-4x192-p32"
    """Name of a known architecture; with ``init`` it must be the run's."""

    activation: Activation = "quick_gelu"
    head: Literal["linear", "normalised"] = "normalised"
    spec: PreprocessSpec = PreprocessSpec()
    tune: Tune = "layernorm"
    """Which encoder parameters learn; the head always does."""

    epochs: int = Field(30, ge=1)
    batch_size: int = Field(128, ge=1)
    """Crops per optimiser step; the last, incomplete batch of an epoch is left out."""

    pairs_together: bool = False
    """Crops of one pair go into one batch, as in arXiv 2204.08376: what they share cancels out of the gradient."""

    learning_rate: float = Field(3e-4, gt=0)
    """Peak, after the warm-up."""

    final_learning_rate: float = Field(1e-5, ge=0)
    """Where the cosine ends and the warm-up begins."""

    schedule: Literal["cosine", "constant"] = "cosine"
    warmup_epochs: float = Field(1, ge=0)
    weight_decay: float = Field(0, ge=0)
    """On matrices only, never on norms and biases. 0 lets the normalised head's rows grow."""

    augmentation: Augmentation = Augmentation()
    seed: int = Field(0, ge=0)
    """Initial weights, order and augmentation follow from it."""

    precision: Literal["fp32", "bf16"] = "fp32"
    """bf16 computes under autocast; weights stay fp32."""

    in_memory: bool = False
    """Keep all crops decoded (S x S x 3 bytes each): for small sets."""

    num_workers: int = Field(0, ge=0)
    """Processes that read crops; 0 reads in the main one."""

    shuffle_labels: bool = False
    """Control experiment: labels that say nothing, so that a fair test must give AUROC 0.5. Half of
    each class, drawn at random, gets the other label: unlike a plain permutation this leaves no
    chance correlation with the truth for a network to find."""

    @field_validator("encoder")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in KNOWN:
            raise ValueError(f"{name!r} is not known; there are {', '.join(KNOWN)}")
        return name


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
    if kind != "extra_forbidden":
        return f"{dotted}: {message}"
    tables: dict[str, type[BaseModel]] = {"augmentation": Augmentation, "spec": PreprocessSpec}
    model: type[BaseModel] = tables[str(location[0])] if len(location) > 1 else TrainConfig
    fields = model.model_fields
    near = difflib.get_close_matches(str(location[-1]), fields, n=1)
    return f"{dotted} is not a known key" + (f"; did you mean {near[0]}?" if near else f"; known: {', '.join(fields)}")
