"""Shared memory in /dev/shm: whether the frames fit into it, and what a killed server left there."""

from __future__ import annotations

import os
from pathlib import Path

from lnclip.artifact import Flavour
from lnclip.errors import ConfigError, SetupError
from server.model_configs import config_file, instances, load_config, parameter

SHM = Path("/dev/shm")  # noqa: S108 - looked at, never written to
FRAME_MODELS = ("image_decoder", "face_aligner")
"""The Python models that hold whole frames: each instance's region grows to its largest and stays."""

FRAMES_PER_INSTANCE = 2
"""Seen: with frames of changing sizes a region grows to 1.9 times the largest."""

REGION_BYTES = 16 * 2**20
"""For every other Python instance: 1 MB at first, letterboxes and crops later."""


def needed_bytes(repository: Path, models: list[str], flavour: Flavour) -> tuple[int, float]:
    """What a repository's Python models may put into /dev/shm.

    Returns:
        Bytes, and the frame size they stand for in megapixels (0 when no model takes frames).

    Raises:
        ConfigError: a config cannot be read, or max_megapixels is no number.
    """
    configs = {name: load_config(config_file(repository / name, flavour)) for name in models}
    megapixels = 0.0
    if "image_decoder" in configs:
        text = parameter(configs["image_decoder"], "max_megapixels", "50")
        try:
            megapixels = float(text)
        except ValueError as error:
            raise ConfigError(f"max_megapixels of image_decoder is {text!r}, no number") from error
    need = 0
    for name, config in configs.items():
        if config.backend == "python":
            each = FRAMES_PER_INSTANCE * megapixels * 3e6 if name in FRAME_MODELS else 0
            need += len(instances(config)) * int(REGION_BYTES + each)
    return need, megapixels


def free_bytes(shm: Path = SHM) -> int:
    """What may still be put there."""
    state = os.statvfs(shm)
    return state.f_bavail * state.f_frsize


def check(repository: Path, models: list[str], flavour: Flavour, shm: Path = SHM) -> None:
    """Refuse a repository whose frames do not fit: Triton would fail requests with it, or die of SIGBUS.

    Raises:
        SetupError: too little is free; the message says how to change that.
    """
    need, megapixels = needed_bytes(repository, models, flavour)
    free = free_bytes(shm)
    if free >= need:
        return
    size = f"{-(-need // 2**30) + 1}g"
    raise SetupError(
        f"{shm} has {free / 2**20:.0f} MiB free, the Python models may need {need / 2**20:.0f} MiB "
        f"(frames of {megapixels:g} megapixels). Make it larger (mount -o remount,size={size} {shm}; "
        f"docker run --shm-size={size}), or lower max_megapixels or the instance counts of image_decoder and "
        "face_aligner in model_repository/ and run python -m server init."
    )


def remove_regions(prefix: str, shm: Path = SHM) -> None:
    """Delete the regions of a server that no longer runs."""
    for region in shm.glob(f"{prefix}*"):
        region.unlink(missing_ok=True)
