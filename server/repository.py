"""build/repository: what Triton serves, made from model_repository/ and never seen by Git.

Adapters and configs are copied; S, D and the face cap are set for the artifact, and in the CPU flavour what
tuned.json says; detector files, published encoder versions and tuned.json, which other commands put there, are kept.
"""

from __future__ import annotations

import os
from pathlib import Path

from lnclip.artifact import Artifact, Flavour
from lnclip.contract import DETECTOR, ENCODER, ENSEMBLE
from lnclip.errors import ConfigError, SetupError
from lnclip.publication import versions
from server.environment import ROOT
from server.model_configs import Sizes, adapt
from server.tuned import Tuned

SOURCE = ROOT / "model_repository"
REPOSITORY = Path("build/repository")
ALIGNER = "face_aligner"

PUBLISH_HINT = "python -m export publish exports/NAME"
DETECTOR_HINT = "python -m export face-detector mtcnn"


def encoder_adapter() -> Path:
    """The face_encoder's Python adapter, which every version published for CPUs gets a copy of."""
    return SOURCE / ENCODER / "1" / "model.py"


def has_encoder_adapter(repository: Path) -> bool:
    """Whether the newest published encoder has the adapter of today: a version keeps the one that it came with."""
    published = versions(repository / ENCODER)
    adapter = repository / ENCODER / str(published[-1]) / "model.py" if published else None
    return adapter is not None and adapter.is_file() and adapter.read_bytes() == encoder_adapter().read_bytes()


def init_repository(repository: Path, artifact: Artifact | None = None, *, source: Path = SOURCE) -> None:
    """Make or refresh a repository; run again, it changes nothing.

    Args:
        repository: the folder to serve.
        artifact: decides S, D and the aligner's spec; by default the newest published one does, and
            before the first publish the committed sizes stay and the aligner has no spec yet.
        source: folder of the committed models.

    Raises:
        ConfigError: ``repository`` is the source itself, or the source holds no models, or tuned.json
            cannot be read or applied.
        ArtifactError: a published model.json cannot be read.
    """
    if repository.resolve() == source.resolve():
        raise ConfigError(f"{source} is the committed source: serve another folder, {REPOSITORY} say")
    models = model_names(source)
    if not models:
        raise ConfigError(f"{source} holds no models")
    if artifact is None and (published := versions(repository / ENCODER)):
        artifact = Artifact.load(repository / ENCODER / str(published[-1]) / "model.json")
    sizes, tuned = None if artifact is None else _sizes(artifact), Tuned.load(repository)
    for name in models:
        _copy_configs(source, repository, name, sizes, tuned)
        if name != ENCODER:
            _copy_versions(source / name, repository / name)
    if ENSEMBLE in models:
        (repository / ENSEMBLE / "1").mkdir(parents=True, exist_ok=True)
    if artifact is not None and ALIGNER in models:
        _write_spec(repository, artifact)


def init_encoder_alone(repository: Path, artifact: Artifact, version: Path) -> None:
    """Make a repository with nothing but one version of the encoder, to try it out; nothing large is copied.

    Args:
        repository: the folder to make.
        artifact: decides the sizes and the spec, as in the whole repository.
        version: the complete version folder.
    """
    _copy_configs(SOURCE, repository, ENCODER, _sizes(artifact))
    _write_spec(repository, artifact)  # the adapter reads it; without a config the aligner is no model here
    (repository / ENCODER / "1").symlink_to(version.resolve(), target_is_directory=True)


def model_names(repository: Path) -> list[str]:
    """The models of a repository: folders with a config.pbtxt."""
    return sorted(path.parent.name for path in repository.glob("[!.]*/config.pbtxt"))


def check_servable(repository: Path, flavour: Flavour) -> list[str]:
    """The models that a server of this flavour would load.

    Raises:
        SetupError: there is none, or one lacks what it needs; the message names the command that makes it.
    """
    models = model_names(repository)
    if not models:
        raise SetupError(f"{repository} holds no published encoder: {PUBLISH_HINT}{_option(repository)}")
    missing = []
    for name in models:
        folders = [path for path in (repository / name).iterdir() if path.is_dir() and path.name.isdecimal()]
        if name == ENCODER and not versions(repository / ENCODER):
            missing.append(f"no published encoder ({PUBLISH_HINT}{_option(repository)})")
        elif name == DETECTOR and flavour == "cpu" and not any((path / "detector.json").is_file() for path in folders):
            missing.append(f"no face detector ({DETECTOR_HINT}{_option(repository)})")
        elif not folders:
            missing.append(f"no version of {name} (python -m server init{_option(repository)})")
    if missing:
        raise SetupError(f"{repository} cannot be served, it has {'; '.join(missing)}")
    return models


def _sizes(artifact: Artifact) -> Sizes:
    return Sizes(S=artifact.identity.spec.input_px, D=artifact.identity.encoder.width)


def _write_spec(repository: Path, artifact: Artifact) -> None:
    spec = artifact.identity.spec.model_dump_json(indent=2) + "\n"
    _write(repository / ALIGNER / "1" / "spec.json", spec.encode())


def _option(repository: Path) -> str:
    return "" if repository == REPOSITORY else f" --repository {repository}"


def _copy_configs(source: Path, repository: Path, name: str, sizes: Sizes | None, tuned: Tuned | None = None) -> None:
    """config.pbtxt and configs/*.pbtxt with the values set; configs of flavours that are gone are removed."""
    flavours = {path.name for path in (source / name / "configs").glob("*.pbtxt")}
    for file in ("config.pbtxt", *(f"configs/{flavour}" for flavour in sorted(flavours))):
        text = adapt(source, name, file, sizes)
        _write(repository / name / file, (tuned.applied(name, file, text) if tuned else text).encode())
    for stale in (repository / name / "configs").glob("*.pbtxt"):
        if stale.name not in flavours:
            stale.unlink()


def _copy_versions(source: Path, target: Path) -> None:
    """The files of the version folders, as they are."""
    for version in (path for path in source.iterdir() if path.is_dir() and path.name.isdecimal()):
        (target / version.name).mkdir(parents=True, exist_ok=True)
        for file in (path for path in version.rglob("*") if path.is_file() and "__pycache__" not in path.parts):
            if not file.name.startswith("."):
                _write(target / version.name / file.relative_to(version), file.read_bytes())


def _write(path: Path, content: bytes) -> None:
    """Whole or not at all, and only when it differs: a server may be reading it."""
    if path.is_file() and path.read_bytes() == content:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes(content)
    temporary.replace(path)
