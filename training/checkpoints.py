"""Where a run that was cut off goes on: what learns, the optimiser's state and the counters, in one file."""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn

from lnclip.errors import ArtifactError, ConfigError
from lnclip.index import Item
from training.config import TrainConfig
from training.provenance import rows_sha256


class Beginning(NamedTuple):
    """What a run began with; it can go on with nothing else."""

    config: str
    """As JSON."""

    train_index: str
    """SHA-256 of its rows."""

    val_index: str


def beginning(config: TrainConfig, items: Sequence[Item], validation: Sequence[Item]) -> Beginning:
    """Of a run with these settings on these crops."""
    return Beginning(config.model_dump_json(), rows_sha256(items), rows_sha256(validation))


def steps_done(path: Path) -> int:
    """Optimiser steps that a checkpoint's run had taken; raises as ``_read``."""
    return int(str(_read(path)["global_step"]))


def check_beginning(path: Path, now: Beginning) -> None:
    """A run goes on with what it began with.

    Raises:
        ConfigError: settings or crops are others; names the settings.
        ArtifactError: the checkpoint cannot be read.
    """
    began = Beginning(*_read(path)["began"])  # type: ignore[misc]  # what ``Checkpoints`` wrote
    then, today = json.loads(began.config), json.loads(now.config)
    names = [name for name in today | then if then.get(name) != today.get(name)]
    changed = [f"{name} was {then.get(name)!r} and is {today.get(name)!r}" for name in names]
    changed += [
        f"the crops of {name} are others"
        for name in ("train_index", "val_index")
        if name not in names and getattr(began, name) != getattr(now, name)
    ]
    if changed:
        raise ConfigError(
            f"{path} is of another run: {'; '.join(changed)}. Resume with what it began with, or choose another --out"
        )


def _read(path: Path) -> dict[str, object]:
    """A checkpoint's content; tensors stay in the file until they are used.

    Raises:
        ArtifactError: it is damaged.
    """
    try:
        content: dict[str, object] = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (OSError, RuntimeError, pickle.UnpicklingError) as error:
        raise ArtifactError(f"{path} cannot be read: {error}") from error
    return content


def trainable_names(module: nn.Module) -> list[str]:
    """Of the parameters that learn."""
    return [name for name, parameter in module.named_parameters() if parameter.requires_grad]


def trainable_copy(module: nn.Module) -> dict[str, Tensor]:
    """Their values now, in main memory."""
    state = module.state_dict()
    return {name: state[name].detach().cpu().clone() for name in trainable_names(module)}


def restore(module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Put such a copy back; raises as ``check_names``."""
    check_names(module, tensors)
    module.load_state_dict(tensors, strict=False)


def check_names(module: nn.Module, tensors: object) -> None:
    """All that learns must be there, and nothing else.

    Raises:
        ArtifactError: names what is missing or unexpected.
    """
    wanted, given = set(trainable_names(module)), set(tensors if isinstance(tensors, Mapping) else ())
    if wanted != given:
        shown = ", ".join(sorted(wanted ^ given)[:5])
        raise ArtifactError(f"the checkpoint does not fit what learns; missing or unexpected: {shown}")


class Checkpoints(Callback):  # type: ignore[misc]  # Lightning is not analysed: pyproject.toml
    """Saves after every so many optimiser steps, and after each epoch. Comes after all that has a state."""

    def __init__(self, path: Path, config: TrainConfig, began: Beginning | None) -> None:
        """``began`` is known to the first process, which writes."""
        self.path, self.config, self.began = path, config, began

    def on_train_batch_end(
        self, trainer: Trainer, _pl_module: LightningModule, _outputs: object, _batch: object, batch_idx: int
    ) -> None:
        """Between two optimiser steps, where no gradient is half-summed; an epoch's last waits for its end."""
        batches = batch_idx + 1
        if (
            batches % self.config.accumulate_batches == 0
            and batches < trainer.num_training_batches
            and trainer.global_step % self.config.save_every_steps == 0
        ):
            self.save(trainer)

    def on_train_epoch_end(self, trainer: Trainer, _pl_module: LightningModule) -> None:
        """After its validation."""
        self.save(trainer)

    def on_save_checkpoint(self, _trainer: Trainer, _pl_module: LightningModule, checkpoint: dict[str, object]) -> None:
        """Add what the run began with."""
        checkpoint["began"] = tuple(self.began or ())

    def save(self, trainer: Trainer) -> None:
        """Write beside the last one and then in its place: a kill at any moment leaves a whole one."""
        for logger in trainer.loggers:
            logger.save()
        partial = self.path.with_suffix(".partial")
        trainer.save_checkpoint(partial)
        if trainer.is_global_zero:
            partial.replace(self.path)
