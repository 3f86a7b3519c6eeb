"""Published weights -> runs/NAME: other people's checkpoints become a run like one that was trained here."""

from __future__ import annotations

import logging
import tempfile
from collections import Counter
from importlib.metadata import version
from pathlib import Path

import torch
from safetensors.torch import save_file

from lnclip.artifact import Artifact, Identity, Provenance
from lnclip.encoder import FaceEncoder, build_encoder, load_strictly
from lnclip.errors import ArtifactError, ConfigError
from lnclip.identity import file_sha256
from training.provenance import git_revision
from training.published.files import Published, read
from training.published.layouts import Tensors, listed
from training.published.recognition import Parts, Profile, choose_activation, choose_spec, recognise, sort

log = logging.getLogger(__name__)

ORIGIN: dict[Profile, str] = {
    "GenD": "default 0.5, not calibrated: published weights (GenD, arXiv 2508.06248)",
    "deepfake-detection": "default 0.5, not calibrated: published weights (deepfake-detection, arXiv 2503.19683)",
    "encoder": "head untrained: scores mean nothing before fit",
}
"""What model.json says of the threshold."""

PACKAGES = ("torch", "safetensors", "open_clip_torch", "timm", "huggingface_hub")

HEAD_SEED = 0
"""Of the fresh head that an encoder alone gets."""


def import_run(source: str, out: Path) -> Artifact:
    """Make a run of published weights; all of it or nothing.

    Args:
        source: file, folder, or hf:owner/name@revision; see ``published``.
        out: folder to make.

    Raises:
        ConfigError: ``out`` is there already, or there is no such source.
        SetupError: it cannot be downloaded.
        ArtifactError: a file is damaged, or a tensor or setting in it cannot be placed; it is named.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"{out} is there already: give another --out, or remove it")
    published = read(source)
    try:
        parts = sort(published.tensors, published.settings)
        identity, encoder = _assemble(parts, published)
    except ArtifactError as error:
        raise ArtifactError(f"{source}: {error}") from error
    _report(parts, identity)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as folder:
        run = Path(folder) / "run"
        run.mkdir()
        weights = run / "weights.safetensors"
        save_file({name: tensor.contiguous() for name, tensor in encoder.state_dict().items()}, weights)
        artifact = Artifact(
            identity=identity.model_copy(update={"weights_sha256": file_sha256(weights)}),
            provenance=Provenance(
                name=out.name,
                inputs=published.inputs,
                versions={package: version(package) for package in PACKAGES},
                git_revision=git_revision(),
                head_trained=parts.profile != "encoder",
                threshold_source=ORIGIN[parts.profile],
            ),
        )
        artifact.save(run / "model.json")
        run.replace(out)
    return artifact


def _assemble(parts: Parts, published: Published) -> tuple[Identity, FaceEncoder]:
    """The network with all its weights.

    Raises:
        ArtifactError: a tensor is missing, of another shape, or not of finite numbers; or the settings
            leave something open.
    """
    settings = published.settings
    architecture, input_px = recognise(parts.encoder, settings)
    if parts.head and settings.head is None:
        raise ArtifactError(
            "nothing says whether the head reads normalised features, and the wrong one gives plausible wrong scores: "
            'give it the config.json it was published with, or one with {"head": "LinearNorm"} or {"head": "linear"}'
        )
    identity = Identity(
        weights_sha256="0" * 64,  # until they are written
        encoder=architecture,
        activation=choose_activation(architecture.family, settings),
        head=(settings.head if parts.head else None) or "normalised",
        spec=choose_spec(parts.profile, architecture, input_px),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(HEAD_SEED)
        encoder = build_encoder(identity)
        fresh_head = torch.nn.Linear(architecture.width, 2).state_dict()
    weights = {f"visual.{name}": tensor for name, tensor in parts.encoder.weights.items()}
    head = parts.head if parts.profile != "encoder" else fresh_head
    weights |= {f"head.{name}": tensor for name, tensor in head.items()}
    _check_numbers(weights)
    load_strictly(encoder, {name: tensor.float() for name, tensor in weights.items()}, Path("the file"))
    return identity, encoder


def _check_numbers(weights: Tensors) -> None:
    """Raise ArtifactError, naming tensors, where any holds something else than finite floating-point numbers."""
    bad = [name for name, tensor in weights.items() if not tensor.is_floating_point() or not tensor.isfinite().all()]
    if bad:
        raise ArtifactError(f"not of finite floating-point numbers: {listed(bad)}")


def _report(parts: Parts, identity: Identity) -> None:
    """Say what became of every tensor, and what was chosen."""
    num_used = len(parts.encoder.weights) + len(parts.head)
    log.info("%s layout, %s profile: %d tensors filled", parts.encoder.layout.name, parts.profile, num_used)
    for reason, count in Counter(parts.dropped.values()).items():
        log.info("left out %d: %s", count, reason)
    log.info(
        "%s, %s, %s head, %s alignment, crop %s px, input %d px",
        identity.encoder.name, identity.activation, identity.head, identity.spec.estimator,
        identity.spec.crop_px or "native", identity.spec.input_px,
    )  # fmt: skip
    if parts.profile == "encoder":
        log.warning("the source has no head for faces: this run's is random, and its scores mean nothing before fit")
