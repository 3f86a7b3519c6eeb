"""TensorRT and TensorRT-RTX behind one door: the same calls, other names and other GPUs.

``tensorrt`` (10.12 or later) builds for the GPU that is here; its plans are what Triton serves.
``tensorrt_rtx`` also builds ahead of time, without a GPU: that is how the graphs are proven to parse,
to be typed and to build on any machine. Triton cannot load its plans.
"""

from __future__ import annotations

import importlib
import logging
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from export.engine_manifest import BuilderName
from lnclip.errors import ConfigError, SetupError

log = logging.getLogger(__name__)

MODULES: dict[BuilderName, str] = {"tensorrt": "tensorrt", "tensorrt_rtx": "tensorrt_rtx_bindings"}
REMEDIES: dict[BuilderName, str] = {
    "tensorrt": "build inside the Triton image, or install this project with its extra 'tensorrt'",
    "tensorrt_rtx": "make setup",
}

OLDEST = (10, 12)
"""Of tensorrt: from here on strongly typed networks are the way, and from 11 the only one."""


class Gpu(NamedTuple):
    """The first GPU of this machine."""

    name: str
    compute_capability: str
    """"9.0"."""


class Builder(NamedTuple):
    """One of the two, imported."""

    name: BuilderName
    api: ModuleType

    @property
    def version(self) -> str:
        """E.g. "11.1.0.106"."""
        return str(self.api.__version__)

    @property
    def targets(self) -> list[str]:
        """What ``--target-gpu`` may say: SM75, SM80, ...; none when it builds for the GPU here alone."""
        names = getattr(getattr(self.api, "ComputeCapability", None), "__members__", {})
        return sorted(name for name in names if name.startswith("SM")) if self.name == "tensorrt_rtx" else []


def find_builder(name: BuilderName | None = None) -> Builder:
    """Import a builder.

    Args:
        name: None takes tensorrt where it is installed, else tensorrt_rtx.

    Raises:
        SetupError: it is not installed, or too old.
    """
    for candidate in (name,) if name else MODULES:
        try:
            builder = Builder(candidate, importlib.import_module(MODULES[candidate]))
        except ImportError as error:
            missing = SetupError(f"{candidate} cannot be imported ({error}): {REMEDIES[candidate]}")
            continue
        if candidate == "tensorrt" and tuple(map(int, builder.version.split(".")[:2])) < OLDEST:
            raise SetupError(f"tensorrt {builder.version} is too old, 10.12 is needed: {REMEDIES[candidate]}")
        return builder
    raise missing


def find_gpu() -> Gpu | None:
    """The GPU here, as its driver names it."""
    command = ["nvidia-smi", "--query-gpu=name,compute_cap", "--format=csv,noheader", "--id=0"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    name, _, capability = answer.strip().partition(", ")
    return Gpu(name, capability) if capability else None


def compute_capability(builder: Builder, target: str | None, gpu: Gpu | None) -> str:
    """The compute capability that a plan is to be built for.

    Args:
        builder: decides what is possible.
        target: "SM89", or None for the GPU here.
        gpu: the one here, if any.

    Raises:
        ConfigError: the builder has no such target, or has none at all.
        SetupError: there is no GPU here that it builds for.
    """
    if target is None:
        if gpu is None:
            hint = f", or give --target-gpu {'|'.join(builder.targets)}" if builder.targets else ""
            raise SetupError(f"there is no GPU here for {builder.name} to build for: build where there is one{hint}")
        if builder.targets and f"SM{gpu.compute_capability.replace('.', '')}" not in builder.targets:
            raise SetupError(f"{builder.name} does not build for {gpu.name} ({gpu.compute_capability})")
        return gpu.compute_capability
    if not builder.targets:
        raise ConfigError(f"{builder.name} builds for the GPU that is here: leave --target-gpu out")
    if target not in builder.targets:
        raise ConfigError(f"{builder.name} does not build for {target}: --target-gpu {'|'.join(builder.targets)}")
    digits = target.removeprefix("SM")
    return f"{digits[:-1]}.{digits[-1]}"


def make_logger(builder: Builder, file: Path) -> Any:  # noqa: ANN401 - the class comes from an untyped module
    """A builder's logger that keeps every line in a file, and shows warnings and errors."""
    severity = builder.api.ILogger.Severity
    levels = {
        severity.INTERNAL_ERROR: logging.ERROR,
        severity.ERROR: logging.ERROR,
        severity.WARNING: logging.WARNING,
    }
    file.write_text("", encoding="utf-8")

    class FileLogger(builder.api.ILogger):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()

        def log(self, severity: Any, message: str) -> None:  # noqa: ANN401 - as above
            with file.open("a", encoding="utf-8") as lines:
                lines.write(f"{severity.name} {message}\n")
            if severity in levels:
                log.log(levels[severity], "%s: %s", builder.name, message)

    return FileLogger()
