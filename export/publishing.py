"""exports/NAME -> the next version of face_encoder in a served repository, whole or not at all.

A candidate is made beside the versions under a name that Triton passes over, checked in a server of
its own, flushed to disk, and only then renamed to its number.
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from export.candidate import Candidate, from_export
from export.checking import check_apart
from export.reloading import reload, server_on
from lnclip import running
from lnclip.artifact import Artifact, Flavour, Precision, Runtime
from lnclip.contract import ENCODER
from lnclip.errors import PublishError
from lnclip.golden import Golden
from lnclip.publication import WITHDRAWN, next_version, versions
from server.repository import init_repository

log = logging.getLogger(__name__)

STAGING = ".publishing"
"""Below face_encoder/: Triton and ``lnclip.publication`` read folders with numbers for names only.
Source: Triton docs, model_repository.md, "Model Versions"."""

REMOVED = ".removed"
"""Likewise: an old version on its way out."""

KEEP = 3
"""Versions that stay: the one that serves and two to go back to."""


@dataclass(frozen=True, kw_only=True)
class PublishOptions:
    """How a candidate becomes a version."""

    keep: int = KEEP
    """Versions that stay, the new one among them; at least 2."""

    replace_spec: bool = False
    """Whether the repository takes the candidate's preprocessing and sizes; no server may run on it then."""

    run_dir: Path = running.RUN_DIR
    """Where a running server is looked for."""


def publish(
    exports: Path,
    repository: Path,
    *,
    flavour: Flavour = "cpu",
    precision: Precision | None = None,
    options: PublishOptions | None = None,
) -> int:
    """Make an export the newest version, and let a server that runs on the repository load it.

    Args:
        exports: folder of ``export onnx``.
        repository: made if need be.
        flavour: which engine the version is for.
        precision: None takes the best that was exported, see ``candidate.from_export``.
        options: by default ``PublishOptions()``.

    Returns:
        The version.

    Raises:
        PublishError: the candidate is incomplete, fails its check, or does not fit the repository;
            nothing has changed then.
        WithdrawnError: the running server could not answer with it; the version before serves.
        ArtifactError: a model.json cannot be read.
    """
    return put_in(from_export(exports, flavour, precision), repository, options or PublishOptions())


def put_in(candidate: Candidate, repository: Path, options: PublishOptions) -> int:
    """Make a candidate the newest version; arguments, result and errors as of ``publish``."""
    server = server_on(repository, candidate.flavour, options.run_dir)
    identity = candidate.artifact.identity
    _check_fits(repository, candidate.artifact, server, replace_spec=options.replace_spec)
    encoder = repository / ENCODER
    encoder.mkdir(parents=True, exist_ok=True)
    with _locked(encoder):
        shutil.rmtree(encoder / WITHDRAWN, ignore_errors=True)
        try:
            version = _place(candidate, repository, replace_spec=options.replace_spec)
        except OSError as error:
            raise PublishError(f"{repository} cannot be written, nothing is published: {error}") from error
        if server is not None:
            reload(server, version, Golden.load(version / candidate.golden.name), identity, candidate.max_dp)
        _prune(encoder, options.keep)
    now = "answers now" if server else "is there; no server runs on this repository"
    log.info("version %s (%s, artifact %s) %s", version.name, identity.precision, identity.artifact_id.hex, now)
    return int(version.name)


def _place(candidate: Candidate, repository: Path, *, replace_spec: bool) -> Path:
    """Make the version folder, have it checked, and give it its number."""
    encoder = repository / ENCODER
    staging = encoder / STAGING
    shutil.rmtree(staging, ignore_errors=True)  # left by a publish that was killed
    staging.mkdir()
    try:
        for name, source in candidate.files.items():
            shutil.copyfile(source, staging / name)
        candidate.artifact.save(staging / "model.json")
        engine = check_apart(candidate, staging)
        shutil.rmtree(staging / "__pycache__", ignore_errors=True)  # of the adapter, by the check's server
        runtime = Runtime(flavour=candidate.flavour, engine=engine)
        candidate.artifact.model_copy(update={"runtime": runtime}).save(staging / "model.json")
        _flush(staging)
        if replace_spec or not versions(encoder) or not (encoder / "config.pbtxt").is_file():
            init_repository(repository, candidate.artifact)
        version = staging.rename(encoder / str(next_version(encoder)))
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    _flush_folder(encoder)
    return version


def _check_fits(
    repository: Path, artifact: Artifact, server: running.RunningServer | None, *, replace_spec: bool
) -> None:
    """A repository has one spec and one embedding size, those of its first version unless it is told to change.

    Raises:
        PublishError: the artifact has others, or the change would reach a running server half.
    """
    published = versions(repository / ENCODER)
    if not published:
        return
    there = Artifact.load(repository / ENCODER / str(published[-1]) / "model.json").identity
    new = artifact.identity
    sides = {
        "the preprocessing": (there.spec.spec_id.hex, new.spec.spec_id.hex),
        "the input side": (there.spec.input_px, new.spec.input_px),
        "the embedding size": (there.encoder.width, new.encoder.width),
    }
    changed = [f"{what} ({old} there, {now} here)" for what, (old, now) in sides.items() if old != now]
    if not changed:
        return
    differs = f"{repository} serves version {published[-1]}, which differs in {' and '.join(changed)}"
    if not replace_spec:
        raise PublishError(
            f"{differs}: publish with --replace-spec while no server runs on it, "
            "or into a folder of its own with --repository DIR and serve that one"
        )
    if server is not None:
        raise PublishError(
            f"{differs}, and a running server takes a new preprocessing at its start only: python -m server stop, "
            "publish with --replace-spec, python -m server start"
        )


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One publish at a time; the lock goes with the process, however that ends.

    Raises:
        PublishError: somebody else publishes into it now.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise PublishError(f"another publish into {folder} is under way: wait for it") from error
    try:
        yield
    finally:
        os.close(descriptor)


def _flush(folder: Path) -> None:
    """Everything below a folder onto the disk, so that no crash leaves a version with holes."""
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
    _flush_folder(folder)


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _prune(encoder: Path, keep: int) -> None:
    """Remove the oldest versions; each leaves under another name, so that none is ever there in part."""
    removed = encoder / REMOVED
    for version in versions(encoder)[:-keep]:
        shutil.rmtree(removed, ignore_errors=True)
        (encoder / str(version)).rename(removed)
        log.info("version %d gives way: %d stay", version, keep)
    shutil.rmtree(removed, ignore_errors=True)
