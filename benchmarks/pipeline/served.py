"""One running server for each precision of the same weights, all up at once: only one is asked at a time."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from benchmarks.random_service import RandomModel, random_model, serve_from, served_precision
from export.report import onnx_file
from lnclip.artifact import Precision
from lnclip.engines import supports_bf16
from lnclip.errors import LnclipError, SetupError
from lnclip.running import RunningServer
from server.embedded import StartOptions, discard, start

log = logging.getLogger(__name__)


class Served(NamedTuple):
    """What runs, and what cannot here."""

    model: RandomModel
    servers: dict[Precision, RunningServer]
    not_here: dict[Precision, str]
    """Why."""


@contextmanager
def serving(work: Path, encoder: str, precisions: Sequence[Precision]) -> Iterator[Served]:
    """Serve one random model in several precisions; all servers are stopped on the way out.

    Args:
        work: of ``random_model``. An export that is there is taken as it is: a graph that it lacks is "not here".
        encoder: of ``lnclip.architecture.KNOWN``.
        precisions: those beside the one that ``work/repository`` has are published below ``work``, once.

    Raises:
        LnclipError: the model cannot be made, or none of the precisions can be served.
    """
    not_here = {p: reason for p in precisions if (reason := _cannot(work / "export", p))}
    offered = [precision for precision in precisions if precision not in not_here]
    if not offered:
        raise SetupError(f"no precision can be served: {_reasons(not_here)}")
    model = random_model(work, encoder, offered)
    servers: dict[Precision, RunningServer] = {}
    with ExitStack() as undo:
        run_dirs = Path(undo.enter_context(tempfile.TemporaryDirectory(prefix="pipeline.")))
        for precision in offered:
            try:
                servers[precision] = start(StartOptions(published(model, precision), run_dir=run_dirs / precision))
            except LnclipError as error:
                log.warning("%s is left out: %s", precision, error)
                not_here[precision] = str(error)
            else:
                undo.callback(discard, run_dirs / precision)
        if not servers:
            raise SetupError(f"no precision can be served: {_reasons(not_here)}")
        yield Served(model, servers, not_here)


def published(model: RandomModel, precision: Precision) -> Path:
    """A repository that serves the model in that precision; made where there is none.

    Raises:
        PublishError: the export lacks it, or it fails its check here.
    """
    if served_precision(model.repository) == precision:
        return model.repository
    repository = model.repository.with_name(f"repository.{precision}")
    serve_from(repository, model.export, precision)
    return repository


def _cannot(export: Path, precision: Precision) -> str:
    """Why it cannot even be tried; empty when it can."""
    if precision == "bf16" and not supports_bf16():
        return "this processor has no bf16"
    lacks = export.is_dir() and not (export / onnx_file(precision)).is_file()
    return f"the export has no {onnx_file(precision)}" if lacks else ""


def _reasons(not_here: Mapping[Precision, str]) -> str:
    return "; ".join(f"{precision}: {reason}" for precision, reason in not_here.items())
