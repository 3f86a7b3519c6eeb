"""The Lightning module: one batch's loss, optimiser, learning rate, and nothing else.

Importing Lightning is slow. Legend: N faces of one device, J of all devices, D embedding size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import torch
from lightning.pytorch import LightningModule
from torch import Tensor

from lnclip.encoder import FaceEncoder
from lnclip.errors import ConfigError
from training.checkpoints import check_names, trainable_names
from training.config import TrainConfig
from training.crops import DROPOUT, MIXING, Batch, stream_seed
from training.distribution import gathered
from training.losses import Losses, compute
from training.schedule import learning_rate
from training.slerp import mix
from training.tuning import parameter_groups, select_trainable

SHOWN = 5
"""So many paths of a bad batch are named."""


class Tuner(LightningModule):  # type: ignore[misc]  # Lightning is not analysed: pyproject.toml
    """Every device encodes its own faces; the loss is that of all faces, computed alike on each device."""

    def __init__(self, encoder: FaceEncoder, config: TrainConfig, paths: Sequence[Path] = ()) -> None:
        """``paths`` are those of the index, to name a bad batch by."""
        super().__init__()
        self.encoder, self.config, self.paths = encoder, config, paths
        self.values: dict[str, float] = {}
        """Of the last batch, by the name it has in the log."""
        select_trainable(encoder, config.tune, config.lora)
        if config.compile:
            encoder.visual.compile()
        self.strict_loading = False  # checkpoints hold what learns; on_load_checkpoint accounts for it

    def on_train_batch_start(self, _batch: Batch, batch_idx: int) -> None:
        """Random numbers from here on, and the learning rate, depend on nothing that was before."""
        words = (self.config.seed, self.current_epoch, batch_idx, DROPOUT, self.global_rank)
        torch.manual_seed(stream_seed(*words))
        steps_per_epoch = self.trainer.num_training_batches // self.config.accumulate_batches
        self.values["learning_rate"] = learning_rate(self.config, self.trainer.global_step, steps_per_epoch)
        for group in self.trainer.optimizers[0].param_groups:
            group["lr"] = self.values["learning_rate"]

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Loss of the batch, over all devices.

        Raises:
            ConfigError: it is not a finite number; names the batch's files. Other processes than
                the first, which find the same, end in silence.
        """
        features_JD, columns_J = gathered(self.encoder.visual(batch.pixels)), gathered(batch.columns)
        generator = torch.Generator().manual_seed(
            stream_seed(self.config.seed, self.current_epoch, batch_idx, MIXING)  # the same on each device
        )
        mixed, columns = mix(features_JD, columns_J, self.config.slerp, generator)
        encoding = self.encoder.classify(mixed)
        losses = compute(encoding, columns, self.config)
        self._note(losses)
        if not math.isfinite(self.values["loss"]):
            self._stop(features_JD.detach(), gathered(batch.indices))
        return losses.total

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW on what is trainable; its learning rate is set before each batch."""
        return torch.optim.AdamW(parameter_groups(self.encoder, self.config.weight_decay))

    def on_save_checkpoint(self, checkpoint: dict[str, object]) -> None:
        """Frozen weights come from where the run began; a checkpoint holds the others."""
        learning, state = trainable_names(self), self.state_dict()
        checkpoint["state_dict"] = {name: state[name] for name in learning}

    def on_load_checkpoint(self, checkpoint: dict[str, object]) -> None:
        """Raises ArtifactError: the checkpoint holds other weights than those that learn."""
        check_names(self, checkpoint["state_dict"])

    def _note(self, losses: Losses) -> None:
        """One transfer from the device, not four."""
        names = ("loss", "cross_entropy", "alignment", "uniformity")
        self.values |= dict(zip(names, torch.stack(list(losses)).detach().tolist(), strict=True))

    def _stop(self, features_JD: Tensor, indices_J: Tensor) -> None:
        if self.global_rank:
            raise SystemExit(0)
        spoilt = ~features_JD.isfinite().all(dim=1)
        suspects = indices_J[spoilt] if spoilt.any() else indices_J
        paths = [str(self.paths[index]) for index in suspects.tolist()]
        more = f" and {len(paths) - SHOWN} more" if len(paths) > SHOWN else ""
        raise ConfigError(
            f"the loss is {self.values['loss']} at step {self.global_step}: lower learning_rate "
            f"(now {self.config.learning_rate:g}), or look at this batch's crops: {', '.join(paths[:SHOWN])}{more}"
        )
