"""What a run begins with and what it ends as: a network and its identity, runs/NAME."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from safetensors.torch import save_file

from lnclip.architecture import KNOWN
from lnclip.artifact import Artifact, Identity, Provenance
from lnclip.encoder import FaceEncoder, build_encoder, load_run
from lnclip.errors import ConfigError
from lnclip.identity import file_sha256
from training.config import TrainConfig

UNKNOWN_SHA256 = "0" * 64
"""Stands in an identity whose weights are not written yet."""


class Start(NamedTuple):
    """What training begins with."""

    identity: Identity
    encoder: FaceEncoder


def start(config: TrainConfig) -> Start:
    """A network with random weights, or the run that ``init`` names.

    Of an encoder alone, without a trained head, the configuration chooses head and preprocessing.

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
    pairs: dict[str, tuple[object, object]] = {
        "encoder": (wanted.encoder, found.encoder),
        "activation": (wanted.activation, found.activation),
        "spec.input_px": (wanted.spec.input_px, found.spec.input_px),
    }
    if artifact.provenance.head_trained:
        pairs |= {"head": (wanted.head, found.head), "spec": (wanted.spec, found.spec)}
    for name, (ours, theirs) in pairs.items():
        if ours != theirs:
            raise ConfigError(
                f"{name} is {ours} in the configuration but {theirs} in the run {config.init}; set it to the run's"
            )
    encoder.normalise = wanted.head == "normalised"
    return Start(found.model_copy(update={"head": wanted.head, "spec": wanted.spec}), encoder.train())


def write_run(out: Path, encoder: FaceEncoder, identity: Identity, provenance: Provenance) -> Artifact:
    """Write the weights, and then model.json, which names them by their SHA-256.

    A new head's temperature and threshold are the defaults, whatever the run to start from had.
    """
    weights, partial = out / "weights.safetensors", out / "weights.safetensors.partial"
    save_file({name: tensor.cpu().contiguous() for name, tensor in encoder.state_dict().items()}, partial)
    partial.chmod(0o644)  # safetensors writes for its user alone; a server may run as another
    partial.rename(weights)
    fitted = identity.model_copy(
        update={"weights_sha256": file_sha256(weights), "temperature": 1.0, "threshold": 0.5, "precision": "fp32"}
    )
    artifact = Artifact(identity=fitted, provenance=provenance)
    artifact.save(out / "model.json")
    return artifact
