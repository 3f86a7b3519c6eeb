"""Fit: a configuration in, runs/NAME out. All that can be wrong with files is found before torch is imported."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from PIL import Image

from lnclip.errors import ConfigError
from lnclip.index import Item
from training.config import TrainConfig
from training.data.checking import readable
from training.data.listing import limit_videos, read_items

if TYPE_CHECKING:
    from lnclip.artifact import Artifact

log = logging.getLogger(__name__)

RANKS = ("RANK", "LOCAL_RANK", "SLURM_PROCID")
"""Where torchrun, Lightning's own start, and SLURM tell a process which it is."""

LOOKED_AT = 256
"""So many crops, evenly spaced, are looked at to see whether they are square, as aligned ones are."""


class Crops(NamedTuple):
    """What a run reads."""

    train: list[Item]
    validation: list[Item]


def fit(config: TrainConfig, out: Path, *, resume: bool = False) -> Artifact:
    """Train and write ``out``: weights.safetensors, model.json, metrics.json, log/.

    The same configuration, crops and machine give the same weights, bit for bit, on a CPU; also
    when the run was cut off, at any moment, and resumed. In other processes than the first, which
    further devices need, this does not return: they end here.

    Raises:
        ConfigError: ``out`` holds a run already, or none to resume; an index or too many crops
            cannot be used; processes were not started as the settings say; or as ``course.train``.
        ArtifactError: the run to start from, or the checkpoint to go on from, is damaged.
    """
    checkpoint = out / "log" / "resume.ckpt"
    _check_processes(config)
    _check_out(out, checkpoint, resume=resume)
    crops = read_crops(config, out / "log") if _is_first_process() else Crops([], [])
    from training.course import train

    return train(config, out, *crops, checkpoint=checkpoint, resume=resume)


def _is_first_process() -> bool:
    """Known before the processes of several devices know each other."""
    return next((os.environ[name] for name in RANKS if name in os.environ), "0") == "0"


def _check_processes(config: TrainConfig) -> None:
    """Raises ConfigError: several machines need a starter, and it must start as many processes as are waited for."""
    wanted = config.devices * config.nodes
    started = os.environ.get("WORLD_SIZE", "") if "RANK" in os.environ else ""
    if started and int(started) != wanted:
        raise ConfigError(f"torchrun started {started} processes, but devices x nodes is {wanted}; make them equal")
    if config.nodes > 1 and not {"RANK", "SLURM_PROCID"} & set(os.environ):
        raise ConfigError(f"nodes = {config.nodes}: start this command on every machine with torchrun or srun")


def _check_out(out: Path, checkpoint: Path, *, resume: bool) -> None:
    """Raises ConfigError: ``out`` is not in the state that the command is for."""
    if (out / "model.json").exists() or ((out / "weights.safetensors").exists() and not checkpoint.exists()):
        raise ConfigError(f"{out} holds a trained run already; choose another --out or remove it")
    if checkpoint.exists() and not resume:
        raise ConfigError(f"{out} holds a run that was cut off; go on with --resume, or choose another --out")
    if resume and not checkpoint.exists():
        raise ConfigError(f"{checkpoint} is not there, so there is nothing to resume; start without --resume")


def read_crops(config: TrainConfig, log_folder: Path) -> Crops:
    """The crops that can be read; the others are listed in ``log_folder``.

    Raises:
        ConfigError: an index cannot be used, too many crops are damaged, fewer are left than an
            optimiser step needs, or one class is missing.
    """
    train = read_items(config.train_index, "crop", config.labels)
    validation = read_items(config.val_index, "crop", config.labels) if config.val_index else []
    validation = limit_videos(validation, config.val_limit)
    log_folder.mkdir(parents=True, exist_ok=True)
    report = log_folder / "unreadable.csv"
    good = set(readable([*train, *validation], config.max_unreadable, report, max(1, config.num_workers)))
    crops = Crops(*([item for item in part if item in good] for part in (train, validation)))
    needed = config.batch_size * config.accumulate_batches
    if len(crops.train) < needed:
        names = ", ".join(map(str, config.train_index))
        times = f" x accumulate_batches = {needed}" if config.accumulate_batches > 1 else ""
        raise ConfigError(f"{names} has {len(crops.train)} crops, less than batch_size = {config.batch_size}{times}")
    for name, items in (("train_index", crops.train), ("val_index", crops.validation)):
        if items and len({item.label for item in items}) < 2:
            raise ConfigError(f"{name}: all {len(items)} crops are {items[0].label}; there must be real and fake ones")
    _warn_of_photographs(crops.train)
    return crops


def _warn_of_photographs(items: Sequence[Item]) -> None:
    """Whole pictures train without an error, on little of the face and much of the background."""
    looked_at = items[:: max(1, len(items) // LOOKED_AT)]
    oblong = []
    for item in looked_at:
        with Image.open(item.path) as image:
            if image.width != image.height:
                oblong.append(f"{item.path} ({image.width}x{image.height})")
    if oblong:
        log.warning(
            "%d of %d crops looked at are not square, as aligned crops are: %s; make crops of whole pictures with: "
            "python -m training prepare",
            len(oblong),
            len(looked_at),
            oblong[0],
        )
