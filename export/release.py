"""Retrained to served in one go: graphs, for GPUs the plan, the next version; with the time of each step."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import KW_ONLY, dataclass
from pathlib import Path

from export.candidate import default_precisions
from export.engine import build_engine
from export.onnx_export import export_run
from export.publishing import PublishOptions, publish
from lnclip.artifact import Flavour, Precision

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Release:
    """What to release, and how."""

    run: Path
    exports: Path
    repository: Path
    _: KW_ONLY
    flavour: Flavour = "cpu"
    precision: Precision | None = None
    """None: the best that needs no asking, see ``candidate.default_precisions``."""

    calibration: Path | None = None
    """Index of crops to compare on."""


def release(wanted: Release, options: PublishOptions | None = None) -> tuple[int, dict[str, float]]:
    """Export a run, build its plan if it is for GPUs, and publish it.

    Returns:
        The version, and the seconds of each step.

    Raises:
        LnclipError: as ``export_run``, ``build_engine`` and ``publish`` do; what came before stays.
    """
    seconds: dict[str, float] = {}
    precision = wanted.precision or default_precisions(wanted.flavour)[0]
    with _timed("export", seconds):
        export_run(wanted.run, wanted.exports, [precision], wanted.calibration)
    if wanted.flavour == "gpu":
        with _timed("engine", seconds):
            build_engine(wanted.exports, precision)
    with _timed("publish", seconds):
        version = publish(
            wanted.exports, wanted.repository, flavour=wanted.flavour, precision=precision, options=options
        )
    return version, seconds


@contextmanager
def _timed(step: str, seconds: dict[str, float]) -> Iterator[None]:
    began = time.perf_counter()
    yield
    seconds[step] = time.perf_counter() - began
    log.info("%s took %.1f s", step, seconds[step])
