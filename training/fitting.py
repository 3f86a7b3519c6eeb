"""Fit: a configuration in, runs/NAME out. Importing this imports Lightning, which is slow."""

from __future__ import annotations

import json
import logging
import time
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything
from lightning.pytorch.loggers import CSVLogger
from safetensors.torch import save_file

from lnclip.architecture import KNOWN
from lnclip.artifact import Artifact, Identity
from lnclip.encoder import FaceEncoder, build_encoder, count_parameters, load_run
from lnclip.errors import ConfigError
from lnclip.identity import file_sha256
from lnclip.metrics import report
from training.config import TrainConfig
from training.crops import CropDataset, training_batches
from training.evaluation import score_crops
from training.index import Item, read_index
from training.provenance import describe_run
from training.tuner import Tuner

log = logging.getLogger(__name__)

LOG_EVERY_STEPS = 10
PRECISION = {"fp32": "32-true", "bf16": "bf16-mixed"}
UNKNOWN_SHA256 = "0" * 64
"""Stands in an identity whose weights are not written yet."""


class Start(NamedTuple):
    """What training begins with."""

    identity: Identity
    encoder: FaceEncoder


def fit(config: TrainConfig, out: Path) -> Artifact:
    """Train and write ``out``: weights.safetensors, model.json, metrics.json, log/.

    The same configuration, crops and machine give the same weights, bit for bit, on a CPU.

    Raises:
        ConfigError: ``out`` holds weights already, an index or crop cannot be used, a setting
            does not fit the run to start from, or the loss stops being a number.
        ArtifactError: the run to start from is damaged.
    """
    if (out / "weights.safetensors").exists() or (out / "model.json").exists():
        raise ConfigError(f"{out} holds a trained run already; choose another --out or remove it")
    items = read_index(config.train_index, "crop")
    validation = read_index(config.val_index, "crop") if config.val_index else []
    if len(items) < config.batch_size:
        raise ConfigError(f"{config.train_index} has {len(items)} crops, less than batch_size = {config.batch_size}")

    seed_everything(config.seed, verbose=False)
    identity, encoder = start(config)
    dataset = CropDataset(items, identity.class_order, config)
    batches = training_batches(dataset)
    tuner = Tuner(encoder, config, [item.path for item in items], config.epochs * len(batches))
    learning, total = (f"{number:,}" for number in count_parameters(encoder))
    log.info("%d crops, %d steps an epoch; %s of %s parameters learn", len(items), len(batches), learning, total)

    trainer, began = build_trainer(config, out, len(batches)), time.monotonic()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="lightning")  # its own deprecations, and tips
        trainer.fit(tuner, batches)
    log.info("trained for %.0f s on %s", time.monotonic() - began, trainer.strategy.root_device)

    (out / "log" / "config.json").write_text(config.model_dump_json(indent=2) + "\n", encoding="utf-8")
    _write_metrics(out / "metrics.json", tuner, validation, identity)
    return write_run(out, encoder, identity, config, items)


def build_trainer(config: TrainConfig, out: Path, steps_per_epoch: int) -> Trainer:
    """Lightning's trainer on one device, deterministic; the loss goes to ``out``/log/metrics.csv."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)  # devices found, tips
    return Trainer(
        max_epochs=config.epochs,
        devices=1,
        precision=PRECISION[config.precision],
        deterministic=True,
        logger=CSVLogger(out, name="log", version=""),
        log_every_n_steps=min(LOG_EVERY_STEPS, steps_per_epoch),
        callbacks=[EpochLine()],
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
        use_distributed_sampler=False,
    )


def start(config: TrainConfig) -> Start:
    """A network with random weights, or the run that ``init`` names.

    Raises:
        ConfigError: encoder, activation, head or spec are not the run's.
        ArtifactError: the run is missing or damaged.
    """
    wanted = Identity(
        weights_sha256=UNKNOWN_SHA256,
        encoder=KNOWN[config.encoder],
        activation=config.activation,
        head=config.head,
        spec=config.spec,
    )
    if config.init == "random":
        return Start(wanted, build_encoder(wanted))
    artifact, encoder = load_run(Path(config.init))
    found = artifact.identity
    for name in ("encoder", "activation", "head", "spec"):
        if getattr(found, name) != getattr(wanted, name):
            raise ConfigError(
                f"{name} is {getattr(wanted, name)} in the configuration but {getattr(found, name)} in the run "
                f"{config.init}; set it to the run's"
            )
    return Start(found, encoder.train())


def write_run(out: Path, encoder: FaceEncoder, identity: Identity, config: TrainConfig, items: list[Item]) -> Artifact:
    """Write the weights, and then model.json, which names them by their SHA-256.

    A new head's temperature and threshold are the defaults, whatever the run to start from had.
    """
    weights, partial = out / "weights.safetensors", out / "weights.safetensors.partial"
    save_file({name: tensor.cpu().contiguous() for name, tensor in encoder.state_dict().items()}, partial)
    partial.rename(weights)
    fitted = identity.model_copy(
        update={"weights_sha256": file_sha256(weights), "temperature": 1.0, "threshold": 0.5, "precision": "fp32"}
    )
    artifact = Artifact(identity=fitted, provenance=describe_run(out.name, config, items))
    artifact.save(out / "model.json")
    return artifact


class EpochLine(Callback):  # type: ignore[misc]  # Lightning is not analysed: pyproject.toml
    """One line on the log per epoch, at most one every few seconds."""

    INTERVAL_S = 5.0

    def __init__(self) -> None:
        self.last = -self.INTERVAL_S

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Mean loss of the epoch that ended."""
        now, is_last = time.monotonic(), trainer.current_epoch + 1 == trainer.max_epochs
        if is_last or now - self.last >= self.INTERVAL_S:
            self.last = now
            loss = np.mean(pl_module.losses[-trainer.num_training_batches :])
            log.info("epoch %d of %d: loss %.4f", trainer.current_epoch + 1, trainer.max_epochs, loss)


def _write_metrics(path: Path, tuner: Tuner, validation: list[Item], identity: Identity) -> None:
    """metrics.json: how the loss ended, and the metrics of the validation crops if there are any."""
    steps = max(1, len(tuner.losses) // tuner.config.epochs)
    metrics: dict[str, object] = {
        "steps": len(tuner.losses),
        "loss_first_epoch": float(np.mean(tuner.losses[:steps])),
        "loss_last_epoch": float(np.mean(tuner.losses[-steps:])),
    }
    if validation:
        scores = score_crops(tuner.encoder.eval(), identity, [item.path for item in validation])
        is_fake = np.array([item.label == "fake" for item in validation], np.int64)
        metrics["validation"] = report(is_fake, scores)._asdict()
        log.info("validation AUROC %.4f on %d crops", report(is_fake, scores).auroc, len(validation))
    path.write_text(json.dumps(metrics, indent=2, allow_nan=False) + "\n", encoding="utf-8")
