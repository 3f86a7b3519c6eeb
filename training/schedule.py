"""The learning rate of each optimiser step."""

from __future__ import annotations

import math

from training.config import TrainConfig


def learning_rate(config: TrainConfig, step: int, steps_per_epoch: int) -> float:
    """Linear from final to peak over the warm-up; then constant, or cosines from peak to final.

    Args:
        config: peak and final rate, and the lengths in epochs.
        step: optimiser steps taken so far.
        steps_per_epoch: optimiser steps, not batches, of an epoch.

    A peak below the final rate is both. There is one warm-up: a restart goes straight to the peak.

    Source: arXiv 2508.06248's code; Loshchilov and Hutter, arXiv 1608.03983.
    """
    peak, final = config.learning_rate, min(config.final_learning_rate, config.learning_rate)
    warmup = round(config.warmup_epochs * steps_per_epoch)
    if step < warmup:
        return final + (peak - final) * step / warmup
    if config.schedule == "constant":
        return peak
    since = step - warmup
    if config.restart_epochs is None:
        progress = min(1.0, since / max(1, config.epochs * steps_per_epoch - warmup))
    else:
        cycle = max(1, round(config.restart_epochs * steps_per_epoch))
        progress = since % cycle / cycle
    return final + (peak - final) * (1 + math.cos(math.pi * progress)) / 2
