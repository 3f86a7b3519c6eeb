"""What Triton would serve, read without it: the published encoder and the numbers of the other models."""

from __future__ import annotations

import re
from pathlib import Path

from lnclip.artifact import Artifact
from lnclip.contract import ENCODER
from lnclip.errors import ArtifactError, SpecError
from lnclip.publication import versions
from lnclip.spec import PreprocessSpec

ALIGNER, DECODER = "face_aligner", "image_decoder"


def published_version(repository: Path) -> Path:
    """Folder of the newest encoder, which must be one for CPUs: an older one would be another model.

    Raises:
        ArtifactError: there is none.
    """
    remedy = f"python -m export publish exports/NAME --repository {repository}"
    published = versions(repository / ENCODER)
    if not published:
        raise ArtifactError(f"{repository} holds no published encoder: {remedy}")
    version = repository / ENCODER / str(published[-1])
    if not (version / "model.onnx").is_file():
        raise ArtifactError(f"{version} holds no model.onnx, it was published for GPUs: {remedy} --flavour cpu")
    return version


def aligner_spec(repository: Path, artifact: Artifact) -> PreprocessSpec:
    """What the repository's crops are cut for.

    Raises:
        ArtifactError: it does not say.
        SpecError: it is not what the encoder's weights were trained with.
    """
    path = repository / ALIGNER / "1" / "spec.json"
    try:
        spec = PreprocessSpec.model_validate_json(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ArtifactError(
            f"{path} cannot be read: {error}. python -m server init --repository {repository}"
        ) from error
    needed = artifact.identity.spec
    if spec != needed:
        raise SpecError(
            f"face_aligner cuts crops for spec {spec.spec_id.hex}, the newest face_encoder needs "
            f"{needed.spec_id.hex}: publish into a new repository"
        )
    return spec


def read_parameter(repository: Path, model: str, name: str) -> str:
    """A parameter of a model's configuration, of the flavour ``cpu`` where there is one.

    By a pattern: the parser of Triton's text format (protobuf) is the server's.

    Raises:
        ArtifactError: it is not there.
    """
    folder = repository / model
    path = next((each for each in (folder / "configs" / "cpu.pbtxt", folder / "config.pbtxt") if each.is_file()), None)
    pattern = rf'key:\s*"{name}"\s*value:?\s*\{{\s*string_value:\s*"([^"]*)"'
    found = path and re.search(pattern, path.read_text(encoding="utf-8"))
    if not found:
        raise ArtifactError(
            f"{folder} has no configuration with {name}: python -m server init --repository {repository}"
        )
    return found[1]
