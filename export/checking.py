"""The check that decides: a candidate is loaded and asked in a process of its own, before it has a number.

For CPUs that is a tritonserver with this encoder alone, through the same adapter and config as the one
that serves. Plans are run by TensorRT itself: the embedded server has no backend for them.
"""

from __future__ import annotations

import logging
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from export.candidate import MANIFEST, Candidate
from export.engine_builders import find_gpu
from export.engine_manifest import EngineManifest
from export.reloading import check_served
from lnclip.errors import ArtifactError, ConfigError, ParityError, PublishError, ServerError
from lnclip.golden import Golden
from lnclip.running import RunningServer
from server.embedded import StartOptions, discard, start
from server.environment import SERVING_ENV, installed_version
from server.repository import init_encoder_alone

log = logging.getLogger(__name__)

CHECKING = ".checking"
"""Below face_encoder/: the repository and the run folder of the server that tries a candidate."""

CHECK_S = 600.0
"""A large encoder compiles for minutes on a slow machine."""


def check_apart(candidate: Candidate, staging: Path) -> str:
    """Load a complete version folder in a process of its own and hold it to its golden answers.

    Args:
        candidate: whose folder it is.
        staging: the folder; the check's own files lie beside it and are removed.

    Returns:
        The engine, as model.json's ``runtime`` names it.

    Raises:
        PublishError: it does not load, answers otherwise, or cannot be checked here.
        SetupError: the serving environment lacks something.
    """
    try:
        if candidate.flavour == "gpu":
            return _check_plan(candidate, staging)
        golden, identity = Golden.load(candidate.golden), candidate.artifact.identity
        log.info("checking artifact %s in a server of its own", identity.artifact_id.hex)
        with _server_of(candidate, staging) as server:
            check_served(server, golden, identity, candidate.max_dp)
    except (ServerError, ParityError, ArtifactError, ConfigError) as error:
        raise PublishError(f"the candidate fails its check and is not published: {error}") from error
    return f"OpenVINO {installed_version('openvino', SERVING_ENV)}"


@contextmanager
def _server_of(candidate: Candidate, staging: Path) -> Iterator[RunningServer]:
    """A server that serves the staged folder and nothing else."""
    folder = staging.with_name(CHECKING)
    run_dir = folder / "run"
    discard(run_dir)  # left by a publish that was killed
    shutil.rmtree(folder, ignore_errors=True)
    init_encoder_alone(folder / "repository", candidate.artifact, staging)
    try:
        yield start(StartOptions(folder / "repository", run_dir=run_dir, ready_timeout_s=CHECK_S))
    finally:
        discard(run_dir)
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(staging / "__pycache__", ignore_errors=True)  # of the adapter: no part of a version


def _check_plan(candidate: Candidate, staging: Path) -> str:
    """Run a plan on the GPU that it was built for, in a process of its own: a bad one may leak GPU memory.

    Source: triton-inference-server/server issue 8969.
    """
    manifest = EngineManifest.load(staging / MANIFEST)
    gpu = find_gpu()
    if gpu is None:
        raise PublishError("there is no GPU here to check the plan on: publish it on the machine that serves it")
    if gpu.name != manifest.gpu:
        raise PublishError(f"the plan was built for {manifest.gpu or 'no GPU'}, here is {gpu.name}: build it here")
    command = [sys.executable, "-m", "export.plan_runner", str(staging), str(candidate.max_dp)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=CHECK_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise ParityError(f"it gave no answer within {CHECK_S:g} s") from error
    if done.returncode:
        raise ParityError(done.stderr.strip().rpartition("\n")[2].removeprefix("error: "))
    return f"TensorRT {manifest.builder_version}"
