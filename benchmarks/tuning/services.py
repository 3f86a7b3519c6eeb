"""Servers of the settings that are compared: at most two, each on a repository of its own made of links.

A candidate's repository is made by ``server init`` from a tuned.json, so what is measured is what ``apply`` gives.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.serving.measured import Load, Measurement
from benchmarks.serving.measuring import Target, measure
from benchmarks.serving.windows import Windowing
from benchmarks.tuning.comparing import Sample
from benchmarks.tuning.descent import UnmeasurableError
from benchmarks.tuning.settings import Mode, Settings, as_tuning
from lnclip.contract import DETECTOR, ENCODER
from lnclip.engines import Crops, Floats, processor
from lnclip.errors import LnclipError
from lnclip.publication import versions
from lnclip.running import RunningServer
from server.asking import encode
from server.embedded import StartOptions, discard, start
from server.repository import init_repository
from server.tuned import FILE, Tuned

START_S = 600.0
"""A large encoder compiles for minutes on a slow machine."""

MAX_DP = 2e-3
"""Largest |dp| between two settings: other batches round otherwise, in bf16 by so much (DESIGN 6)."""


class _Service:
    """One server and its folder."""

    def __init__(self, folder: Path) -> None:
        self.run_dir = folder / ".run"
        self.server = start(StartOptions(folder / "repository", run_dir=self.run_dir, ready_timeout_s=START_S))

    def stop(self) -> None:
        discard(self.run_dir)


@dataclass(kw_only=True)
class Services:
    """Starts servers as settings are asked for; a context, which leaves none running."""

    repository: Path
    """Served from elsewhere as a rule; nothing in it is written."""

    committed: Settings
    """What ``tuned.json`` changes."""

    work: Path
    """For the candidates' folders."""

    mode: Mode
    payloads: Sequence[bytes]
    crops: Crops
    """Every server must answer alike for these."""

    windowing: Windowing
    _running: dict[Settings, _Service] = field(default_factory=dict)
    _reference: Floats | None = None
    _started: int = 0

    def __enter__(self) -> Services:
        """Nothing runs yet."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop what runs."""
        self.keep()

    def measure(self, settings: Settings) -> Sample:
        """Put the load on the settings' server, which is started when it does not run.

        Raises:
            UnmeasurableError: it does not start, answers otherwise than the first one, or answers nothing.
        """
        server = self._server(settings)
        target = Target(grpc_url=server.grpc_url, http_url=server.http_url, pid=server.pid, mode=self.mode)
        try:
            found = measure(target, Load("concurrency", settings.concurrency), self.payloads, self.windowing)
        except LnclipError as error:
            raise UnmeasurableError(settings, _short(error)) from error
        if not len(found.latencies_us):
            raise UnmeasurableError(settings, f"no request was answered: {dict(found.errors)}")
        return sample(found)

    def keep(self, *kept: Settings) -> None:
        """Stop every server but those of the settings given."""
        for settings in self._running.keys() - {_served(each) for each in kept}:
            self._running.pop(settings).stop()

    def _server(self, settings: Settings) -> RunningServer:
        served = _served(settings)
        if served not in self._running:
            self._started += 1
            folder = self.work / str(self._started)
            try:
                tuned = as_tuned(served, self.committed)
                link_repository(self.repository, folder / "repository", tuned)
                self._running[served] = _Service(folder)
                self._check_answers(self._running[served].server)
            except LnclipError as error:
                if served in self._running:
                    self._running.pop(served).stop()
                raise UnmeasurableError(settings, _short(error)) from error
        return self._running[served].server

    def _check_answers(self, server: RunningServer) -> None:
        p_fake = encode(server, self.crops).p_fake
        if self._reference is None:
            self._reference = p_fake
        worst = float(np.abs(p_fake - self._reference).max())
        if not worst <= MAX_DP:
            raise LnclipError(f"answers otherwise than the shipped settings: |dp| {worst:.1e}, limit {MAX_DP:.0e}")


def as_tuned(settings: Settings, committed: Settings, record: str = "being measured") -> Tuned | None:
    """The file that makes a repository serve these settings; None where the committed ones do."""
    models = as_tuning(settings, committed)
    if not models:
        return None
    return Tuned(record=record, processor=processor(), cores=len(os.sched_getaffinity(0)), models=models)


def link_repository(source: Path, folder: Path, tuned: Tuned | None) -> None:
    """A repository that serves the newest encoder and the detector of another one with other settings.

    Raises:
        ArtifactError: the other one's model.json cannot be read.
        ConfigError: a config has no place for a setting.
    """
    version = str(versions(source / ENCODER)[-1])
    for model, number in ((ENCODER, version), (DETECTOR, "1")):
        target = folder / model / number
        target.mkdir(parents=True)
        for path in (source / model / number).iterdir():
            if path.is_file() and not (model == DETECTOR and path.name == "model.py"):  # server init's own copy
                (target / path.name).symlink_to(path.resolve())
    if tuned is not None:
        (folder / FILE).write_text(tuned.text(), encoding="utf-8")
    init_repository(folder)


def sample(measurement: Measurement) -> Sample:
    """What the search needs of a measurement that has answers."""
    encoder = [step for step in (*measurement.steps, measurement.model) if step.name == ENCODER]
    batches = [step.inferences / step.executions for step in encoder if step.executions]
    return Sample(
        images_per_s=measurement.throughput,
        p99_ms=float(np.percentile(measurement.latencies_us, 99)) / 1000,
        faces_per_s=measurement.faces / measurement.duration_s,
        encoder_batch=batches[0] if batches else 0.0,
        failed=sum(measurement.errors.values()),
        is_stable=measurement.is_stable,
    )


def _served(settings: Settings) -> Settings:
    """Without what is no setting of the server: one server serves every load."""
    return settings._replace(concurrency=0)


def _short(error: LnclipError) -> str:
    """A message for a cell: its first and its last line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ... ".join(dict.fromkeys((lines[0], lines[-1])))
