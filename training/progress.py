"""What one sees of a run: rows in metrics.csv and TensorBoard, and a bar on a terminal or lines in a log."""

from __future__ import annotations

import csv
import logging
import sys
import time
from pathlib import Path

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import RichProgressBar
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only

from training.selection import EpochRecord, Selection

log = logging.getLogger(__name__)

LOG_EVERY_STEPS = 10


class Journal(Callback):  # type: ignore[misc]  # Lightning is not analysed: pyproject.toml
    """A row every few optimiser steps and after each epoch; without a terminal, a line per epoch too."""

    LINE_INTERVAL_S = 5.0

    def __init__(self, selection: Selection, *, lines: bool) -> None:
        """``selection`` has an epoch's record by the time it is written here."""
        self.selection, self.lines = selection, lines
        self.last_line = -self.LINE_INTERVAL_S

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, _outputs: object, _batch: object, batch_idx: int
    ) -> None:
        """The last batch's values; not Lightning's own way, which writes after a checkpoint is saved."""
        pl_module.log("loss", pl_module.values["loss"], prog_bar=True, logger=False)
        steps_per_epoch = trainer.num_training_batches // pl_module.config.accumulate_batches
        whole_step = (batch_idx + 1) % pl_module.config.accumulate_batches == 0
        if whole_step and trainer.global_step % min(LOG_EVERY_STEPS, steps_per_epoch) == 0:
            self._row(trainer, pl_module.values)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The epoch's record."""
        record = self.selection.records[-1]
        row = {"epoch_loss": record.loss}
        if record.validation:
            row |= {f"val_{name}": float(str(record.validation[name])) for name in ("video_map", "auroc")}
            pl_module.log("val_video_map", row["val_video_map"], prog_bar=True, logger=False)
        self._row(trainer, row)
        now, is_last = time.monotonic(), trainer.current_epoch + 1 == trainer.max_epochs
        if self.lines and trainer.is_global_zero and (is_last or now - self.last_line >= self.LINE_INTERVAL_S):
            self.last_line = now
            log.info("epoch %d of %d: %s", record.epoch, trainer.max_epochs, described(record))

    def _row(self, trainer: Trainer, values: dict[str, float]) -> None:
        for logger in trainer.loggers:
            logger.log_metrics({"epoch": trainer.current_epoch + 1, **values}, trainer.global_step)


def described(record: EpochRecord) -> str:
    """One epoch in words."""
    if not record.validation:
        return f"loss {record.loss:.4f}"
    video_map, auroc = record.validation["video_map"], record.validation["auroc"]
    return f"loss {record.loss:.4f}, validation video mAP {video_map:.4f}, crop AUROC {auroc:.4f}"


def display(selection: Selection) -> list[Callback]:
    """Callbacks that show the run."""
    terminal = sys.stderr.isatty()
    bar = [RichProgressBar(leave=True, console_kwargs={"stderr": True})] if terminal else []
    return [Journal(selection, lines=not terminal), *bar]


def loggers(out: Path, step: int) -> list[Logger]:
    """Both write to ``out``/log; rows after ``step``, which a run that was cut off will write again, are dropped."""
    folder = out / "log"
    table = CSVLogger(out, name="log", version="")
    if rank_zero_only.rank == 0:
        rows = _rows_until(folder / "metrics.csv", step)
        table.experiment.metrics.extend(rows)  # making the experiment removes the file
        table.save()
        if not step:
            for stale in folder.glob("events.out.tfevents.*"):
                stale.unlink()  # of a run that ended before its first checkpoint
    return [table, TensorBoardLogger(out, name="log", version="", default_hp_metric=False, purge_step=step + 1)]


def _rows_until(path: Path, step: int) -> list[dict[str, str]]:
    if not step or not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    # A row that the kill cut short is after the checkpoint, before which all rows are written.
    return [row for row in rows if (row.get("step") or "").isdecimal() and int(row["step"]) <= step]
