"""What is searched: the CPU flavour's settings and how many requests are in flight, each with its steps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from lnclip.contract import ENCODER
from server.model_configs import config_file, load_config
from server.tuned import ModelTuning

Mode = Literal["images", "crops"]
Direction = Literal[1, -1]

COUNTS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)
DELAYS_US = (0, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000)
MAX_CONCURRENCY = 128


class Settings(NamedTuple):
    """One point of the search."""

    decoder_instances: int
    detector_instances: int
    aligner_instances: int
    encoder_instances: int
    encoder_batch: int | None
    """Crops that the dynamic batcher gathers, see ``ModelTuning.preferred_batch``; None: up to max_batch_size."""

    queue_delay_us: int
    """How long it waits for them."""

    threads: int | None
    streams: int | None
    """Of the encoder's engine; None: the engine decides."""

    concurrency: int
    """Requests in flight: the load's, no setting of the server."""


class Knob(NamedTuple):
    """A field of ``Settings``, for people and for the config it stands in."""

    field: str
    what: str
    model: str
    """Empty: of the load."""

    attribute: str
    """Of ``ModelTuning``."""


ENCODER_KNOBS = (
    Knob("encoder_instances", "encoder instances", ENCODER, "instances"),
    Knob("streams", "encoder streams", ENCODER, "streams"),
    Knob("threads", "encoder threads", ENCODER, "threads"),
    Knob("encoder_batch", "encoder batch", ENCODER, "preferred_batch"),
    Knob("queue_delay_us", "encoder queue delay, us", ENCODER, "queue_delay_us"),
    Knob("concurrency", "requests in flight", "", ""),
)
IMAGE_KNOBS = (
    Knob("detector_instances", "detector instances", "face_detector", "instances"),
    Knob("decoder_instances", "decoder instances", "image_decoder", "instances"),
    Knob("aligner_instances", "aligner instances", "face_aligner", "instances"),
)
KNOBS = (*IMAGE_KNOBS, *ENCODER_KNOBS)


class Bounds(NamedTuple):
    """What limits the steps."""

    cores: int
    max_batch: int
    """The encoder's max_batch_size."""

    latency_limit_ms: float


def knobs(mode: Mode, *, has_threads: bool = True) -> tuple[Knob, ...]:
    """What is worth turning: ready crops pass the encoder alone, and an old adapter reads no threads."""
    chosen = KNOBS if mode == "images" else ENCODER_KNOBS
    return tuple(knob for knob in chosen if has_threads or knob.field not in ("threads", "streams"))


def ladder(field: str, bounds: Bounds) -> Sequence[int | None]:
    """The values that a field may take, ascending."""
    if field == "concurrency":
        return _powers(MAX_CONCURRENCY)
    if field == "queue_delay_us":
        return [delay for delay in DELAYS_US if delay <= bounds.latency_limit_ms * 1000 / 2]
    if field == "encoder_batch":
        return [*_powers(bounds.max_batch - 1), None]
    if field == "threads":
        return [*(count for count in COUNTS if count < bounds.cores), None]
    if field == "streams":
        return [None, *(count for count in _powers(bounds.cores) if count > 1)]
    most = bounds.cores if field == "encoder_instances" else max(4, 2 * bounds.cores)  # each encoder holds the weights
    return [count for count in COUNTS if count <= most]


def step(settings: Settings, field: str, direction: Direction, bounds: Bounds) -> Settings | None:
    """The next settings up or down one field's ladder; None at its end.

    A value that stands between two steps goes to the nearer one in that direction. More streams come with the requests
    that keep them busy: while each computes its part of a batch, as many must wait for the next.
    """
    rungs = ladder(field, bounds)
    value = getattr(settings, field)
    if value in rungs:
        index = rungs.index(value) + direction
    else:
        below = sum(rung is not None and rung < value for rung in rungs) + (rungs[0] is None)
        index = below if direction == 1 else below - 1
    if not 0 <= index < len(rungs):
        return None
    stepped = settings._replace(**{field: rungs[index]})  # type: ignore[arg-type]
    if field == "streams" and direction == 1 and stepped.streams is not None:
        return stepped._replace(concurrency=max(stepped.concurrency, 2 * stepped.streams))
    return stepped


def read_settings(repository: Path, concurrency: int = 1) -> Settings:
    """What a repository's CPU configs say.

    Raises:
        ConfigError: one of them cannot be read.
    """
    found: dict[str, int | None] = {"concurrency": concurrency}
    for knob in KNOBS:
        if knob.model:
            tuning = ModelTuning.of(load_config(config_file(repository / knob.model, "cpu")))
            found[knob.field] = getattr(tuning, knob.attribute)
    for knob in KNOBS:
        if knob.attribute == "instances":
            found[knob.field] = found[knob.field] or 1  # Triton's own default
    found["queue_delay_us"] = found["queue_delay_us"] or 0
    return Settings(**found)  # type: ignore[arg-type]


def as_tuning(settings: Settings, committed: Settings) -> dict[str, ModelTuning]:
    """What ``tuned.json`` must hold to turn the committed settings into others; by model, empty when nothing."""
    values: dict[str, dict[str, int]] = {}
    for knob in KNOBS:
        value = getattr(settings, knob.field)
        if knob.model and value is not None and value != getattr(committed, knob.field):
            values.setdefault(knob.model, {})[knob.attribute] = value
    return {model: ModelTuning.model_validate(found) for model, found in values.items()}


def describe(value: int | None) -> str:
    """One value, for people."""
    return "default" if value is None else str(value)


def change(old: Settings, new: Settings) -> str:
    """How two settings differ, for people."""
    parts = [
        f"{knob.what} {describe(getattr(old, knob.field))} -> {describe(getattr(new, knob.field))}"
        for knob in KNOBS
        if getattr(old, knob.field) != getattr(new, knob.field)
    ]
    return "; ".join(parts) or "nothing"


def _powers(highest: int) -> list[int]:
    return [2**exponent for exponent in range(highest.bit_length()) if 2**exponent <= highest]
