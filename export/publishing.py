"""exports/NAME -> the next version of face_encoder in a served repository, whole or not at all.

A candidate is made beside the versions under a name that Triton passes over, checked in a process of
the serving environment, flushed to disk, and only then renamed to its number.
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError

from export.report import GOLDEN_FILE, PARITY_FILE, ParityReport, model_file, onnx_file
from lnclip import running
from lnclip.artifact import Artifact, Flavour, Precision, Runtime
from lnclip.contract import ENCODER
from lnclip.engines import supports_bf16
from lnclip.errors import PublishError, ServerError
from lnclip.identity import file_sha256
from lnclip.publication import versions
from server.control import load_model
from server.environment import SERVING_ENV
from server.repository import encoder_adapter, init_repository

log = logging.getLogger(__name__)

STAGING = ".publishing"
"""Below face_encoder/: Triton and ``lnclip.publication`` read folders with numbers for names only.
Source: Triton docs, model_repository.md, "Model Versions"."""

CHECK_TIMEOUT_S = 600


def publish(
    exports: Path,
    repository: Path,
    *,
    flavour: Flavour = "cpu",
    precision: Precision | None = None,
    run_dir: Path = running.RUN_DIR,
) -> int:
    """Make an export the newest version, and let a server that runs on the repository load it.

    Args:
        exports: folder of ``export onnx``.
        repository: made if need be.
        flavour: which engine the version is for.
        precision: None takes bf16 where it was exported and this processor has it, else fp32.
        run_dir: where a running server is looked for.

    Returns:
        The version.

    Raises:
        PublishError: the candidate is incomplete, fails its check, or does not fit the repository;
            nothing has changed then.
        ArtifactError: a model.json cannot be read.
    """
    if flavour != "cpu":
        raise PublishError("the gpu flavour needs a TensorRT plan, and there is no export of plans yet: --flavour cpu")
    artifact = _exported(exports, precision)
    precision = artifact.identity.precision
    limit = _proven_limit(exports, artifact)
    server = _server_on(repository, flavour, run_dir)
    _check_fits(repository, artifact)
    encoder = repository / ENCODER
    encoder.mkdir(parents=True, exist_ok=True)
    with _locked(encoder):
        version = max(versions(encoder), default=0) + 1
        staging = encoder / STAGING
        shutil.rmtree(staging, ignore_errors=True)  # left by a publish that was killed
        staging.mkdir()
        try:
            _fill(staging, exports, artifact)
            engine = _check_apart(staging, exports / GOLDEN_FILE, limit)
            runtime = Runtime(flavour=flavour, engine=engine)
            artifact.model_copy(update={"runtime": runtime}).save(staging / "model.json")
            _flush(staging)
            if not (encoder / "config.pbtxt").is_file() or not versions(encoder):
                init_repository(repository, artifact)
            staging.rename(encoder / str(version))
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        _flush_folder(encoder)
        if server is not None:
            _reload(server, encoder / str(version))
    state = "answers now" if server else "is there; no server runs on this repository"
    log.info(
        "face_encoder version %d (%s, artifact %s) %s", version, precision, artifact.identity.artifact_id.hex, state
    )
    return version


def _exported(exports: Path, precision: Precision | None) -> Artifact:
    """What an export says of one of its graphs, by default the best for this processor."""
    if precision is None:
        precision = "bf16" if (exports / model_file("bf16")).is_file() and supports_bf16() else "fp32"
    path = exports / model_file(precision)
    if not path.is_file():
        raise PublishError(
            f"{exports} holds no {precision} export: python -m export onnx RUN --out {exports} --precision {precision}"
        )
    return Artifact.load(path)


def _proven_limit(exports: Path, artifact: Artifact) -> float:
    """The |dp| that the export was proven to keep.

    Raises:
        PublishError: parity.json does not speak of exactly these files.
    """
    identity = artifact.identity
    path = exports / PARITY_FILE
    try:
        report = ParityReport.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise PublishError(f"{path} cannot be read: {error}. Export again.") from error
    onnx = exports / onnx_file(identity.precision)
    limits = [
        comparison.limits.max_dp
        for comparison in report.comparisons
        if comparison.artifact_id == identity.artifact_id.hex
    ]
    if not onnx.is_file() or not limits or report.sha256.get(onnx.name) != file_sha256(onnx):
        raise PublishError(f"{path} does not prove {onnx.name} and {model_file(identity.precision)}: export again")
    return min(limits)


def _check_fits(repository: Path, artifact: Artifact) -> None:
    """A repository has one spec and one embedding size, those of its first version.

    Raises:
        PublishError: the artifact has others.
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
    if changed:
        raise PublishError(
            f"{repository} serves version {published[-1]}, which differs in {' and '.join(changed)}: "
            "publish into a folder of its own with --repository DIR and serve that one"
        )


def _server_on(repository: Path, flavour: Flavour, run_dir: Path) -> running.RunningServer | None:
    """The server that serves this very folder.

    Raises:
        PublishError: it runs another flavour, and could not load the version.
    """
    server = running.find(run_dir)
    if server is None or server.repository.resolve() != repository.resolve():
        return None
    if server.flavour != flavour:
        raise PublishError(f"the server on {repository} runs flavour {server.flavour}: publish that one, or stop it")
    return server


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


def _fill(staging: Path, exports: Path, artifact: Artifact) -> None:
    shutil.copyfile(exports / onnx_file(artifact.identity.precision), staging / "model.onnx")
    shutil.copyfile(encoder_adapter(), staging / "model.py")
    artifact.save(staging / "model.json")


def _check_apart(staging: Path, golden: Path, max_dp: float) -> str:
    """Load the candidate as Triton will, in a process of its own; returns the engine.

    Raises:
        PublishError: it failed, with what it said.
    """
    python = SERVING_ENV / "bin" / "python"
    command = [str(python), "-m", "lnclip.golden", str(staging), str(golden), str(max_dp)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=CHECK_TIMEOUT_S, check=False)
    except FileNotFoundError as error:
        raise PublishError(f"{python} is missing: make setup") from error
    except subprocess.TimeoutExpired as error:
        raise PublishError(f"the candidate gave no answer within {CHECK_TIMEOUT_S} s") from error
    if done.returncode:
        said = done.stderr.strip().rpartition("\n")[2].removeprefix("error: ")
        raise PublishError(f"the candidate fails its check and is not published: {said}")
    return done.stdout.strip()


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


def _reload(server: running.RunningServer, version: Path) -> None:
    """Let the server take the version, or take the version away again.

    Raises:
        PublishError: the server refused it; it goes on with what it had.
    """
    try:
        load_model(server, ENCODER)
    except ServerError as error:
        withdrawn = version.with_name(f"{STAGING}-withdrawn")
        version.rename(withdrawn)
        shutil.rmtree(withdrawn)
        raise PublishError(f"the server refused version {version.name}, so it is withdrawn: {error}") from error
