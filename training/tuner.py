"""The Lightning module: loss, optimiser and schedule, and nothing else. Importing Lightning is slow."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn

from lnclip.encoder import FaceEncoder
from lnclip.errors import ConfigError
from training.config import TrainConfig
from training.crops import Batch
from training.tuning import parameter_groups, select_trainable

SHOWN = 5
"""So many paths of a bad batch are named."""


class Tuner(LightningModule):  # type: ignore[misc]  # Lightning is not analysed: pyproject.toml
    """Cross-entropy on the head's two logits."""

    def __init__(self, encoder: FaceEncoder, config: TrainConfig, paths: Sequence[Path], total_steps: int) -> None:
        """``paths`` are those of the index, to name a bad batch by."""
        super().__init__()
        self.encoder, self.config, self.paths, self.total_steps = encoder, config, paths, total_steps
        self.losses: list[float] = []
        select_trainable(encoder, config.tune)

    def training_step(self, batch: Batch) -> Tensor:
        """Loss of one batch.

        Raises:
            ConfigError: it is not a finite number; names the batch's files.
        """
        logits = self.encoder(batch.pixels).logits
        loss = nn.functional.cross_entropy(logits, batch.columns)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise ConfigError(f"the loss is {value} at step {self.global_step}: {self._suspects(batch.indices)}")
        self.losses.append(value)
        self.log("loss", value, on_step=True, on_epoch=False)
        self.log("learning_rate", self.optimizers().param_groups[0]["lr"], on_step=True, on_epoch=False)
        return loss

    def configure_optimizers(self) -> dict[str, object]:
        """AdamW on what is trainable; the learning rate moves after each step."""
        config = self.config
        optimiser = torch.optim.AdamW(parameter_groups(self.encoder, config.weight_decay), lr=config.learning_rate)
        warmup_steps = round(config.warmup_epochs * self.total_steps / config.epochs)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimiser, lambda step: learning_rate(config, step, warmup_steps, self.total_steps) / config.learning_rate
        )
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _suspects(self, indices: Tensor) -> str:
        paths = [str(self.paths[index]) for index in indices.tolist()]
        more = f" and {len(paths) - SHOWN} more" if len(paths) > SHOWN else ""
        return (
            f"lower learning_rate (now {self.config.learning_rate:g}), or look at this batch's crops: "
            f"{', '.join(paths[:SHOWN])}{more}"
        )


def learning_rate(config: TrainConfig, step: int, warmup_steps: int, total_steps: int) -> float:
    """Linear from final to peak over the warm-up, then constant or half a cosine back to final."""
    peak, final = config.learning_rate, min(config.final_learning_rate, config.learning_rate)
    if step < warmup_steps:
        return final + (peak - final) * step / warmup_steps
    if config.schedule == "constant":
        return peak
    progress = (step - warmup_steps) / max(1, total_steps - warmup_steps)
    return final + (peak - final) * (1 + math.cos(math.pi * min(1.0, progress))) / 2
