"""What this machine has and lacks: one line each, with the remedy."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from lnclip.errors import LnclipError
from lnclip.running import RUN_DIR
from server import environment, image, interpreters, ports, run_folder, shared_memory
from server.launch import triton_folder
from server.repository import REPOSITORY, check_servable, model_names
from server.status import inspect

MEMORY_BYTES = 4 * 2**30
"""The demo takes about 2 GB; ViT-L/14 on a CPU about 3 GB."""

IMPORTS = """
import json, sys
import numpy, cv2, onnxruntime, openvino, lnclip
print(json.dumps({"numpy": numpy.__version__, "onnxruntime": onnxruntime.__version__, "openvino": openvino.__version__,
  "lnclip": lnclip.__path__[0],
  "capabilities": openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")}))
"""


class Finding(NamedTuple):
    """One thing looked at."""

    subject: str
    ok: bool
    text: str
    """What is there, or what is wrong and how to change it."""


def examine(repository: Path = REPOSITORY, run_dir: Path = RUN_DIR) -> Iterator[Finding]:
    """Look at everything, one finding at a time."""
    for folder in environment.PINNED:
        yield _environment(folder)
    yield _libpython()
    yield _tritonserver()
    yield from _serving_imports()
    yield from _machine()
    yield _tensorrt()
    yield _repository(repository)
    yield _shared_memory(repository)
    yield _ports()
    yield _server(run_dir)


def _environment(folder: Path) -> Finding:
    python = interpreters.describe(str(folder / "bin" / "python"))
    if python is None:
        return Finding(folder.name, False, "is not there: make setup")
    if python.version[1] not in interpreters.MINORS:
        return Finding(
            folder.name, False, f"{python.label}: Python 3.11 or 3.12 is needed; remove {folder}, make setup"
        )
    if not environment.is_current(folder):
        return Finding(folder.name, False, f"{python.label}: not what {environment.PINNED[folder]} says: make setup")
    return Finding(folder.name, True, python.label)


def _libpython() -> Finding:
    try:
        minor = environment.minor_version(environment.SERVING_ENV)
    except interpreters.MissingError as error:
        return Finding("libpython", False, str(error))
    found = interpreters.find_libpython(minor, environment.SERVING_ENV)
    return Finding("libpython", found is not None, str(found or interpreters.libpython_remedy(minor)))


def _tritonserver() -> Finding:
    try:
        binary = triton_folder() / "bin" / "tritonserver"
        result = subprocess.run([str(binary), "--help"], capture_output=True, text=True, check=False, timeout=60)
    except (LnclipError, OSError, subprocess.TimeoutExpired) as error:
        return Finding("tritonserver", False, str(error))
    if "--model-repository" in result.stdout + result.stderr:
        return Finding("tritonserver", True, f"{binary} runs")
    last = (result.stderr.strip() or f"status {result.returncode}").splitlines()[-1]
    return Finding(
        "tritonserver",
        False,
        f"{binary} does not run: {last}. It was built for glibc 2.35 (Debian 12, Ubuntu 22.04) or newer",
    )


def _serving_imports() -> Iterator[Finding]:
    python = environment.SERVING_ENV / "bin" / "python"
    try:
        result = subprocess.run([str(python), "-c", IMPORTS], capture_output=True, text=True, check=True, timeout=120)
    except (OSError, subprocess.TimeoutExpired) as error:
        yield Finding("serving imports", False, f"{error}: make setup")
        return
    except subprocess.CalledProcessError as error:
        yield Finding("serving imports", False, f"{str(error.stderr).strip().splitlines()[-1:]}: make setup")
        return
    seen: dict[str, Any] = json.loads(result.stdout)
    old_numpy = int(seen["numpy"].split(".")[0]) < 2
    remedy = "" if old_numpy else ": Triton's stub corrupts BYTES with numpy 2; remove .venv-triton, make setup"
    yield Finding("serving numpy", old_numpy, seen["numpy"] + remedy)
    precisions = ", ".join(seen["capabilities"])
    yield Finding("OpenVINO", True, f"{seen['openvino']}; this processor: {precisions}")
    yield Finding("ONNX Runtime", True, seen["onnxruntime"])


def _machine() -> Iterator[Finding]:
    cores = len(os.sched_getaffinity(0))
    yield Finding("cores", True, f"{cores} usable")
    fields = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines())
    available = int(fields["MemAvailable"].split()[0]) * 1024
    text = f"{available / 2**30:.1f} GiB available"
    enough = available >= MEMORY_BYTES
    yield Finding("memory", enough, text if enough else f"{text}, {MEMORY_BYTES / 2**30:.0f} GiB are needed")


def _tensorrt() -> Finding:
    found = environment.installed_version(image.TENSORRT_PACKAGE, environment.PROJECT_ENV)
    if found is None:
        return Finding("tensorrt", True, f"not installed; only plans for GPUs need it ({image.TENSORRT})")
    if found != image.TENSORRT:
        text = f"{found}, but {image.TRITON_IMAGE} loads plans of {image.TENSORRT} alone: install that one"
        return Finding("tensorrt", False, text)
    return Finding("tensorrt", True, f"{found}, as in {image.TRITON_IMAGE}")


def _repository(repository: Path) -> Finding:
    if not model_names(repository):
        return Finding("repository", True, f"{repository} is not made yet: python -m server init")
    try:
        models = check_servable(repository, "cpu")
    except LnclipError as error:
        return Finding("repository", False, str(error))
    return Finding("repository", True, f"{repository}: {', '.join(models)}")


def _shared_memory(repository: Path) -> Finding:
    free = f"{shared_memory.free_bytes() / 2**20:.0f} MiB free"
    try:
        models = check_servable(repository, "cpu")
    except LnclipError:
        return Finding("/dev/shm", True, f"{free}; what is needed depends on the repository")  # noqa: S108 - a label
    try:
        shared_memory.check(repository, models, "cpu")
    except LnclipError as error:
        return Finding("/dev/shm", False, str(error))  # noqa: S108 - a label
    need, _ = shared_memory.needed_bytes(repository, models, "cpu")
    return Finding("/dev/shm", True, f"{free}, up to {need / 2**20:.0f} MiB needed")  # noqa: S108 - a label


def _ports() -> Finding:
    try:
        chosen = ports.choose(ports.Ports(None, None, None))
    except OSError as error:
        return Finding("ports", False, f"no free port on {ports.HOST}: {error}")
    return Finding("ports", True, f"free ones on {ports.HOST}: {', '.join(map(str, chosen))}")


def _server(run_dir: Path) -> Finding:
    try:
        if run_folder.recorded(run_dir) is None:
            return Finding("server", True, f"none runs from {run_dir.resolve()}")
        status = inspect(run_dir)
    except LnclipError as error:
        return Finding("server", False, str(error))
    if not status.is_well:
        return Finding("server", False, "; ".join((*status.problems, *status.log[-3:])))
    answers = "" if status.probe_ms is None else f", answers a test image in {status.probe_ms:.0f} ms"
    return Finding("server", True, f"pid {status.pid} is ready at {status.grpc_url}{answers}")
