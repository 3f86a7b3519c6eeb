"""``benchmarks tune``: the fastest settings of the CPU flavour on this machine under a latency limit."""

from __future__ import annotations

import math
import os
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks.corpus import write_corpus
from benchmarks.random_service import varied_crops
from benchmarks.records import RESULTS, Figure, write_record
from benchmarks.serving.windows import Windowing
from benchmarks.tuning import evidence
from benchmarks.tuning.comparing import MAX_ROUNDS, MIN_ROUNDS, Sample, Trial
from benchmarks.tuning.descent import SATURATED, Search
from benchmarks.tuning.evidence import Found
from benchmarks.tuning.services import Services, as_tuned
from benchmarks.tuning.settings import Bounds, Knob, Mode, Settings, knobs, read_settings
from lnclip import running
from lnclip.artifact import Artifact
from lnclip.contract import DETECTOR, ENCODER
from lnclip.engines import Crops
from lnclip.errors import ConfigError
from lnclip.publication import versions
from server.environment import SERVING_ENV, installed_version
from server.model_configs import config_file, load_config
from server.repository import SOURCE, check_servable, has_encoder_adapter, init_repository
from server.tuned import FILE

PACKAGES = ("numpy", "grpcio", "protobuf", "tritonclient")
SERVED_PACKAGES = ("nvidia-pytriton", "openvino", "onnxruntime", "opencv-python-headless", "numpy")
OLD_ADAPTER = (
    "Threads and streams were not searched: face_encoder's newest version was published with another adapter than "
    "model_repository has now, and may not read them. Publish it again to search them."
)
FEWEST_PAYLOADS = 2
"""Two files at least, so that no request is the one before."""


@dataclass(frozen=True, kw_only=True)
class Effort:
    """How much is measured."""

    rounds: int = 5
    """In which a candidate and the incumbent take turns."""

    windowing: Windowing = field(default_factory=lambda: Windowing(interval_s=2.0, max_trials=5))
    pictures: int = 50
    """Files of the corpus, sent again and again."""


@dataclass(frozen=True, kw_only=True)
class Goal:
    """What is searched for."""

    repository: Path
    latency_limit_ms: float
    mode: Mode
    budget_s: float
    effort: Effort

    def check(self) -> None:
        """Refuse what cannot work.

        Raises:
            ConfigError: a number is out of range, or a server runs that would share the cores.
            SetupError: the repository cannot be served.
        """
        for name, value in (("latency limit", self.latency_limit_ms), ("budget", self.budget_s)):
            if not (math.isfinite(value) and value > 0):
                raise ConfigError(f"the {name} is {value:g}, must be above 0")
        if not MIN_ROUNDS <= self.effort.rounds <= MAX_ROUNDS:
            raise ConfigError(f"{self.effort.rounds} rounds: must be {MIN_ROUNDS} to {MAX_ROUNDS}")
        if self.effort.pictures < FEWEST_PAYLOADS:
            raise ConfigError(f"{self.effort.pictures} pictures: {FEWEST_PAYLOADS} at least")
        server = running.find()
        if server is not None:
            raise ConfigError(f"a server runs from here (pid {server.pid}) and shares the cores: stop it first")
        check_servable(self.repository, "cpu")


def run_tune(
    repository: Path,
    latency_limit_ms: float,
    mode: Mode,
    budget_s: float,
    out: Path = RESULTS,
    *,
    apply: bool = False,
    effort: Effort | None = None,
) -> str:
    """Search, write the record and, if wanted, the settings; the answer says what was found.

    Args:
        repository: with a published encoder and a detector.
        latency_limit_ms: of one request's p99.
        mode: what is sent, images or ready crops.
        budget_s: for the search; the last comparison, of the result with the settings before, comes on top.
        out: folder of the records.
        apply: whether the repository gets the settings.
        effort: by default ``Effort()``.

    Raises:
        ConfigError: a number cannot work, or a server runs that would share the cores.
        SetupError: the repository cannot be served.
        UnmeasurableError: the repository's own settings cannot be served.
    """
    goal = Goal(
        repository=repository,
        latency_limit_ms=latency_limit_ms,
        mode=mode,
        budget_s=budget_s,
        effort=effort or Effort(),
    )
    goal.check()
    encoder = load_config(config_file(repository / ENCODER, "cpu"))
    bounds = Bounds(len(os.sched_getaffinity(0)), encoder.max_batch_size, latency_limit_ms)
    turned = knobs(mode, has_threads=has_encoder_adapter(repository))
    with tempfile.TemporaryDirectory(prefix="lnclip-tune-") as folder, _services(goal, Path(folder)) as services:
        search = Search(
            measure=services.measure,
            when_decided=services.keep,
            bounds=bounds,
            rounds=goal.effort.rounds,
            deadline_s=time.monotonic() + budget_s,
        )
        found = find(services, search, turned, read_settings(repository))
    return _report(found, goal, out, apply=apply)


def find(services: Services, search: Search, turned: tuple[Knob, ...], start: Settings) -> Found:
    """Find the load, the noise and better settings, and hold those to the ones before once more."""
    limit_ms = search.bounds.latency_limit_ms
    loads = search.best_load(start)
    before = fastest(loads, limit_ms)
    search.noise(before)
    best = search.descend(before, turned)
    if best == before:
        return Found(loads, search.trials, Trial(before, before, [], False, "nothing better was found"), limit_ms)
    services.keep()  # both are started anew: what one start brought by luck does not count
    final = search.compare(best, before, in_time=False)
    return Found(loads, search.trials, final, limit_ms)


def fastest(loads: list[tuple[Settings, Sample]], limit_ms: float) -> Settings:
    """The smallest load that brings nearly the most within the limit; where none keeps it, the smallest of all."""
    within = [(settings, sample) for settings, sample in loads if sample.p99_ms <= limit_ms]
    if not within:
        return loads[0][0]
    most = max(sample.images_per_s for _, sample in within)
    return next(settings for settings, sample in within if sample.images_per_s * SATURATED >= most)


def _services(goal: Goal, work: Path) -> Services:
    encoder = goal.repository / ENCODER
    spec = Artifact.load(encoder / str(versions(encoder)[-1]) / "model.json").identity.spec
    crops: Crops = varied_crops(goal.repository / DETECTOR / "1", spec)
    if goal.mode == "crops":
        payloads = [crop.tobytes() for crop in crops]
    else:
        payloads = [picture.path.read_bytes() for picture in write_corpus(work / "corpus", goal.effort.pictures)]
    return Services(
        repository=goal.repository,
        committed=read_settings(SOURCE),
        work=work,
        mode=goal.mode,
        payloads=payloads,
        crops=crops,
        windowing=goal.effort.windowing,
    )


def _report(found: Found, goal: Goal, out: Path, *, apply: bool) -> str:
    """Write the record, then the settings, which name it."""
    artifact = Artifact.load(goal.repository / ENCODER / str(versions(goal.repository / ENCODER)[-1]) / "model.json")
    of, limit = artifact.identity, f"p99 within {goal.latency_limit_ms:g} ms"
    what = f"{of.encoder.name} {of.precision}"
    record = {
        "settings": {
            "latency_limit_ms": goal.latency_limit_ms,
            "mode": goal.mode,
            "budget_s": goal.budget_s,
            **asdict(goal.effort),
        },
        "encoder": {"name": of.encoder.name, "precision": of.precision, "artifact_id": of.artifact_id.hex},
        "served_versions": {package: installed_version(package, SERVING_ENV) for package in SERVED_PACKAGES},
        "applied": apply and found.changes_server,
        **evidence.rows(found),
    }
    caption = f"{what}, {goal.mode}, {limit}, {goal.effort.rounds} rounds in turn"
    note = "" if has_encoder_adapter(goal.repository) else OLD_ADAPTER
    text = evidence.tables(found, note)
    turned = "tuned settings" if found.changes_server or not found.final.accepted else "another load alone"
    figure = Figure(f"server, {turned} against before, {what}, {goal.mode}, {limit}", found.gain)
    path = write_record(
        "tune",
        record,
        f"{caption}\n\n{text}",
        evidence.plot(found, caption),
        packages=PACKAGES,
        folder=out,
        figures=[figure],
    )
    return f"{caption}\n{text}\n{path}\n{_conclude(found, goal.repository, path.name, apply=apply)}"


def _conclude(found: Found, repository: Path, record: str, *, apply: bool) -> str:
    """What was decided; written into the repository if wanted."""
    if not found.final.accepted:
        return f"the settings stay: {found.final.reason}"
    load = f"{found.tuned.concurrency} requests in flight"
    if not found.changes_server:
        before = found.final.incumbent.concurrency
        return f"the settings stay: {found.gain} with {load} in place of {before}, which is the client's to set"
    tuned = as_tuned(found.tuned, read_settings(SOURCE), record)
    if not apply:
        return f"{found.gain} with {load}; --apply writes the settings into {repository}"
    path = repository / FILE
    if tuned is None:
        path.unlink(missing_ok=True)
    else:
        temporary = path.with_name(f".{FILE}.{os.getpid()}")
        temporary.write_text(tuned.text(), encoding="utf-8")
        temporary.replace(path)
    init_repository(repository)
    return f"{found.gain} with {load}; {repository} has the settings ({path.name}) from its next start on"
