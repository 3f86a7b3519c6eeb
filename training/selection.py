"""After each epoch: how well it does on the validation crops, and whether it is the best so far.

Legend: N validation crops.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from numpy.typing import NDArray
from torch import Tensor

from lnclip.artifact import Identity
from lnclip.index import Item
from lnclip.metrics import mean_average_precision, report
from lnclip.pooling import pool_videos
from training.assessment.scoring import score_items
from training.checkpoints import restore, trainable_copy
from training.distribution import all_parts


class EpochRecord(NamedTuple):
    """What one epoch came to."""

    epoch: int
    """The first is 1."""

    loss: float
    """Mean over its batches."""

    validation: dict[str, object] | None = None
    """``video_map``, which chooses the best epoch, and the metrics of single crops."""


class Selection(Callback):  # type: ignore[misc]  # Lightning is not analysed: pyproject.toml
    """Keeps what learnt as it was after the epoch of the highest video mAP; the first of equals."""

    def __init__(self, identity: Identity) -> None:
        """``identity`` says which logit means fake."""
        self.identity = identity
        self.losses: list[float] = []
        """Of this epoch's batches."""

        self.records: list[EpochRecord] = []
        self.best_epoch = 0
        self.best_weights: dict[str, Tensor] = {}

    def on_train_batch_end(
        self, _trainer: Trainer, pl_module: LightningModule, _outputs: object, _batch: object, _batch_idx: int
    ) -> None:
        """One more loss."""
        self.losses.append(pl_module.values["loss"])

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Score the validation crops, each device its share; all of them come to the same answer."""
        epoch, validation = trainer.current_epoch + 1, trainer.datamodule.validation
        metrics = self._validate(trainer, pl_module, validation) if validation else None
        self.records.append(EpochRecord(epoch, float(np.mean(self.losses)), metrics))
        self.losses = []
        if metrics and (not self.best_epoch or _video_map(self.records[-1]) > _video_map(self.best)):
            self.best_epoch, self.best_weights = epoch, trainable_copy(pl_module)

    @property
    def best(self) -> EpochRecord:
        """The last epoch where nothing was validated."""
        return self.records[self.best_epoch - 1]

    def choose(self, pl_module: LightningModule) -> None:
        """Give the network the weights of the best epoch."""
        if self.best_epoch:
            restore(pl_module, self.best_weights)

    def state_dict(self) -> dict[str, object]:
        """For a checkpoint; plain values, so that it can be read without running code."""
        return {
            "losses": self.losses,
            "records": [tuple(record) for record in self.records],
            "best_epoch": self.best_epoch,
            "best_weights": self.best_weights,
        }

    def load_state_dict(self, state_dict: dict[str, object]) -> None:
        """From a checkpoint."""
        for name, value in state_dict.items():
            setattr(self, name, value)
        self.records = [EpochRecord(*record) for record in self.records]

    def _validate(self, trainer: Trainer, pl_module: LightningModule, items: Sequence[Item]) -> dict[str, object]:
        p_fake = self._scores(trainer, pl_module, items)
        videos = pool_videos(items, p_fake)
        is_fake = np.array([item.label == "fake" for item in items], np.int64)
        video_map = mean_average_precision(videos.is_fake, videos.p_fake)
        return {"video_map": video_map, **report(is_fake, p_fake)._asdict()}

    def _scores(self, trainer: Trainer, pl_module: LightningModule, items: Sequence[Item]) -> NDArray[np.float64]:
        """p_fake, (N,), computed in the precision that the run trains in."""
        config, encoder = pl_module.config, pl_module.encoder.eval()
        count, scores = trainer.world_size, np.empty(len(items))
        with torch.autocast(pl_module.device.type, torch.bfloat16, enabled=config.precision == "bf16"):
            own = score_items(encoder, self.identity, items[trainer.global_rank :: count], config.num_workers)
        encoder.train()
        for rank, part in enumerate(all_parts(own)):
            scores[rank::count] = part
        return scores


def _video_map(record: EpochRecord) -> float:
    return float(str((record.validation or {})["video_map"]))
