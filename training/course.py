"""The course of a run: Lightning's trainer from the first step, or from a checkpoint, to runs/NAME.

Importing this imports Lightning, which is slow. Every device's process comes through here; the
first has read the crops, hands them on, and alone writes.
"""

from __future__ import annotations

import json
import logging
import signal
import sys
import time
import warnings
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, LightningDataModule, Trainer, seed_everything
from lightning.pytorch.loggers import Logger
from torch.utils.data import DataLoader

from lnclip.artifact import Artifact
from lnclip.encoder import count_parameters
from lnclip.errors import ConfigError
from lnclip.index import Item
from lnclip.pooling import pool_videos
from training.checkpoints import Checkpoints, beginning, check_beginning, steps_done
from training.config import TrainConfig
from training.crops import CropDataset, Pixels, Stripe, training_batches
from training.progress import described, display, loggers
from training.provenance import describe_run
from training.runs import start, write_run
from training.selection import Selection
from training.tuner import Tuner
from training.tuning import merge

log = logging.getLogger(__name__)

PRECISION = {"fp32": "32-true", "bf16": "bf16-mixed"}


class Material(LightningDataModule):  # type: ignore[misc]  # Lightning is not analysed: pyproject.toml
    """The crops, on every device's process those that the first one read."""

    def __init__(
        self, config: TrainConfig, items: Sequence[Item], validation: Sequence[Item], class_order: Sequence[str]
    ) -> None:
        super().__init__()
        self.config, self.items, self.validation, self.class_order = config, items, validation, class_order
        self.step = 0
        """Optimiser steps done already."""

    def setup(self, stage: str) -> None:  # noqa: ARG002  # Lightning calls it by this name
        """Once the processes know each other."""
        self.items, self.validation = self.trainer.strategy.broadcast((self.items, self.validation))
        self.trainer.lightning_module.paths = [item.path for item in self.items]

    def train_dataloader(self) -> DataLoader[tuple[Pixels, int, int]]:
        """This device's part."""
        dataset = CropDataset(self.items, self.class_order, self.config)
        return training_batches(dataset, Stripe(self.trainer.global_rank, self.trainer.world_size), self.step)


def train(
    config: TrainConfig, out: Path, items: Sequence[Item], validation: Sequence[Item], *, checkpoint: Path, resume: bool
) -> Artifact:
    """Train on ``items`` and write ``out``. In other processes than the first it does not return: they end here.

    Raises:
        ConfigError: the loss stops being a number, memory does not suffice, devices are not there, a
            setting does not fit the run to start from, or the run to resume is another one.
        ArtifactError: the run to start from, or the checkpoint, is damaged.
    """
    if validation:
        pool_videos(validation, torch.zeros(len(validation)).numpy())  # complains now, not after an epoch
    seed_everything(config.seed, verbose=False)
    identity, encoder = start(config)
    material, tuner = Material(config, items, validation, identity.class_order), Tuner(encoder, config)
    selection = Selection(identity)
    began = beginning(config, items, validation) if items else None
    if resume:
        if began:
            check_beginning(checkpoint, began)
        material.step = steps_done(checkpoint)
    if began:
        (out / "log" / "config.json").write_text(config.model_dump_json(indent=2) + "\n", encoding="utf-8")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="lightning")  # its own deprecations, and tips
        callbacks = [selection, *display(selection), Checkpoints(checkpoint, config, began)]
        trainer = build_trainer(config, callbacks, loggers(out, material.step))
        _run(trainer, tuner, material, checkpoint if resume else None)
    if not trainer.is_global_zero:
        sys.exit(0)
    selection.choose(tuner)
    log.info("weights of epoch %d: %s", selection.best.epoch, described(selection.best))
    _write_metrics(out / "metrics.json", trainer, selection)
    artifact = write_run(out, merge(encoder), identity, describe_run(out.name, config, items, validation))
    checkpoint.unlink()
    return artifact


def build_trainer(config: TrainConfig, callbacks: list[Callback], journals: list[Logger]) -> Trainer:
    """Lightning's trainer, deterministic on a CPU.

    Raises:
        ConfigError: there are fewer devices.
    """
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)  # devices found, tips
    logging.getLogger("lightning.fabric").setLevel(logging.ERROR)
    try:
        return Trainer(
            max_epochs=config.epochs,
            devices=config.devices,
            num_nodes=config.nodes,
            strategy="ddp" if config.devices * config.nodes > 1 else "auto",
            precision=PRECISION[config.precision],
            accumulate_grad_batches=config.accumulate_batches,
            deterministic="warn",  # where there is a way: PE's resampled positions have none on a GPU
            logger=journals,
            callbacks=callbacks,
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_progress_bar=sys.stderr.isatty(),
            use_distributed_sampler=False,
        )
    except MisconfigurationException as error:
        raise ConfigError(f"devices = {config.devices}, nodes = {config.nodes} cannot be had here: {error}") from error


def _run(trainer: Trainer, tuner: Tuner, material: Material, checkpoint: Path | None) -> None:
    """Start the other devices' processes and train; if this one fails, they end too."""
    config, began = tuner.config, time.monotonic()
    if trainer.is_global_zero:
        learning, total = (f"{number:,}" for number in count_parameters(tuner.encoder))
        steps = len(material.items) // (config.batch_size * config.accumulate_batches)
        log.info("%d crops, %d steps an epoch; %s of %s parameters learn", len(material.items), steps, learning, total)
        if checkpoint:
            log.info("resumed after step %d of %d", material.step, steps * config.epochs)
    with ExitStack() as failing:
        failing.callback(_end_others, trainer)
        try:
            trainer.fit(tuner, datamodule=material, ckpt_path=checkpoint, weights_only=True)
        except torch.OutOfMemoryError as error:
            devices = config.devices * config.nodes
            raise ConfigError(
                f"out of memory: lower batch_size (now {config.batch_size} on {devices} devices) and "
                f"raise accumulate_batches (now {config.accumulate_batches}) by the same factor"
            ) from error
        failing.pop_all()
    if trainer.is_global_zero:
        log.info("trained for %.0f s on %s", time.monotonic() - began, trainer.strategy.root_device)


def _end_others(trainer: Trainer) -> None:
    """They may wait for this process in a collective; a gentler signal would wait with them."""
    if trainer.strategy.launcher is not None:
        trainer.strategy.launcher.kill(signal.SIGKILL)


def _write_metrics(path: Path, trainer: Trainer, selection: Selection) -> None:
    """metrics.json: how the loss went, every epoch's validation, and which epoch's weights these are."""
    records = selection.records
    metrics: dict[str, object] = {
        "steps": trainer.global_step,
        "loss_first_epoch": records[0].loss,
        "loss_last_epoch": records[-1].loss,
        "epoch": selection.best.epoch,
        "validation": selection.best.validation,
        "epochs": [record._asdict() for record in records],
    }
    path.write_text(json.dumps(metrics, indent=2, allow_nan=False) + "\n", encoding="utf-8")
