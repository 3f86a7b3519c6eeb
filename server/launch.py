"""The command line and the environment of tritonserver out of the nvidia-pytriton wheel."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import NamedTuple

from lnclip.artifact import Flavour
from lnclip.errors import SetupError
from server.environment import SERVING_ENV, minor_version
from server.interpreters import find_libpython, libpython_remedy
from server.ports import HOST, BoundPorts
from server.processes import MARKER

EXIT_TIMEOUT_S = 30
"""How long a stopping server waits for work in flight."""

KEY_HEADER = "lnclip-key"
"""HTTP header that opens the restricted APIs; over gRPC it is ``triton-grpc-protocol-lnclip-key``.
tritonserver takes its value on the command line alone, where the machine's other users can read it (``ps``): it
keeps out mistakes and web pages, not them."""

RESTRICTED = "model-repository,model-config,shared-memory,trace,logging"
"""Model control runs code, shared memory reads and writes it; statistics stay open for benchmarks."""


class Launch(NamedTuple):
    """What to run: the program first among the arguments."""

    arguments: list[str]
    environment: dict[str, str]


class LaunchRequest(NamedTuple):
    """One server to be run."""

    repository: Path
    models: list[str]
    flavour: Flavour
    ports: BoundPorts
    run_dir: Path
    server_id: str
    key: str


def triton_folder(serving_env: Path = SERVING_ENV) -> Path:
    """Where the wheel keeps tritonserver, its backends and its stubs.

    Raises:
        SetupError: the serving environment is not there.
    """
    found = sorted(serving_env.glob("lib/python3.*/site-packages/pytriton/tritonserver"))
    if not found:
        raise SetupError(f"{serving_env} holds no tritonserver: run make setup")
    return found[0]


def link_stub(triton: Path, minor: int) -> Path:
    """Put the stub of one Python version where the Python backend looks for it.

    A link, not a copy: the stub finds its libraries relative to its real place in the wheel.

    Raises:
        SetupError: the wheel has no stub for this Python, or the folder cannot be written.
    """
    stub = triton / "python_backend_stubs" / f"3.{minor}" / "triton_python_backend_stub"
    if not stub.is_file():
        raise SetupError(f"nvidia-pytriton has no stub for Python 3.{minor}: make setup with Python 3.11 or 3.12")
    link = triton / "backends" / "python" / stub.name
    target = Path(os.path.relpath(stub, link.parent))
    if link.is_symlink() and link.readlink() == target:
        return link
    temporary = link.with_name(f".{link.name}.{os.getpid()}")
    try:
        temporary.symlink_to(target)
        temporary.replace(link)
    except OSError as error:
        raise SetupError(
            f"{link} cannot be made ({error.strerror}): run make setup as the owner of {triton}"
        ) from error
    return link


def shm_prefix(run_dir: Path) -> str:
    """What the names of a server's regions in /dev/shm start with: one prefix for each run folder."""
    return f"lnclip_{hashlib.sha256(os.fsencode(run_dir.resolve())).hexdigest()[:12]}_"


def build_launch(request: LaunchRequest, serving_env: Path = SERVING_ENV) -> Launch:
    """How to run a server on 127.0.0.1 whose model control needs a key.

    Raises:
        SetupError: something of the serving environment is missing.
    """
    triton = triton_folder(serving_env)
    minor = minor_version(serving_env)
    link_stub(triton, minor)
    libpython = find_libpython(minor, serving_env)
    if libpython is None:
        raise SetupError(f"Triton's stub needs libpython3.{minor}.so.1.0, which is not here: {libpython_remedy(minor)}")
    restricted = f"{RESTRICTED}:{KEY_HEADER}={request.key}"
    options = {
        "id": request.server_id,
        "model-repository": request.repository.resolve(),
        "backend-directory": triton / "backends",
        "model-control-mode": "explicit",
        "disable-auto-complete-config": None,
        "strict-readiness": "true",
        "exit-timeout-secs": EXIT_TIMEOUT_S,
        "backend-config": f"python,shm-region-prefix-name={shm_prefix(request.run_dir)}",
        "http-restricted-api": restricted,
        "grpc-restricted-protocol": restricted,
    }
    for name, port in request.ports._asdict().items():
        options |= {f"{name}-address": HOST, f"{name}-port": port}
    if request.flavour == "cpu":
        options |= {"model-config-name": "cpu", "allow-gpu-metrics": "false", "pinned-memory-pool-byte-size": 0}
    arguments = [str(triton / "bin" / "tritonserver")]
    arguments += [f"--{name}" if value is None else f"--{name}={value}" for name, value in options.items()]
    arguments += [f"--load-model={model}" for model in request.models]
    return Launch(arguments, _environment(request, serving_env, libpython))


def _environment(request: LaunchRequest, serving_env: Path, libpython: Path) -> dict[str, str]:
    """Ours, with the serving environment's Python first and nothing of the environment we run in."""
    inherited = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "PYTHONHOME"}}
    library_folder = request.run_dir.resolve() / "lib"  # this one library, nothing else of its folder
    library_folder.mkdir(parents=True, exist_ok=True)
    (link := library_folder / libpython.name).unlink(missing_ok=True)
    link.symlink_to(libpython.resolve())
    library_path = [str(library_folder), *filter(None, [inherited.get("LD_LIBRARY_PATH")])]
    return inherited | {
        "PATH": os.pathsep.join([str(serving_env.resolve() / "bin"), inherited.get("PATH", os.defpath)]),
        "VIRTUAL_ENV": str(serving_env.resolve()),
        "LD_LIBRARY_PATH": os.pathsep.join(library_path),
        "PYTHONUNBUFFERED": "1",
        MARKER: str(request.run_dir.resolve()),
    }
