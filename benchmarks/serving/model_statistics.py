"""Where a request's time goes inside the server: Triton's statistics extension, read twice and subtracted.

The counters are cumulative since a model was loaded, so only the difference of two readings speaks of a
measurement. A model that was loaded anew in between starts from zero, and counts from there.

Source: "Statistics Extension" of the Triton protocol, GET /v2/models/stats; times are nanoseconds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from benchmarks.serving.measured import ModelSplit
from lnclip.contract import CONTRACT, ENSEMBLE
from lnclip.errors import ServerError
from server.health import ask


class Counts(NamedTuple):
    """One version of a model since it was loaded; times are sums over its successful requests."""

    requests: int = 0
    failures: int = 0
    inferences: int = 0
    """Rows of the batches: an encoder's faces."""

    executions: int = 0
    request_ns: int = 0
    queue_ns: int = 0
    compute_input_ns: int = 0
    compute_infer_ns: int = 0
    compute_output_ns: int = 0


@dataclass(frozen=True)
class Statistics:
    """One reading."""

    models: Mapping[tuple[str, str], Counts]
    """By name and version."""


def read_statistics(http_url: str) -> Statistics:
    """The counters of every model that is loaded.

    Args:
        http_url: ``host:port``.

    Raises:
        ServerError: nobody answers there, or not with Triton's statistics.
    """
    return parse_statistics(_get(http_url, "/v2/models/stats"))


def parse_statistics(body: bytes) -> Statistics:
    """A reading from the extension's JSON.

    Raises:
        ServerError: it is something else.
    """
    try:
        return Statistics(
            {(str(model["name"]), str(model["version"])): _counts(model) for model in json.loads(body)["model_stats"]}
        )
    except (ValueError, KeyError, TypeError) as error:
        raise ServerError(f"these are not Triton's statistics ({error!r}): {body[:80]!r}") from error


def split(before: Statistics, after: Statistics, model: str) -> ModelSplit:
    """What a model did between two readings, all its versions together.

    A version that was unloaded in between has no counters left: what it did since ``before`` is not known
    and not counted.

    Raises:
        ServerError: no version of the model was loaded at the second reading.
    """
    versions = [version for name, version in after.models if name == model]
    if not versions:
        raise ServerError(f"the server has no model {model}: it has {', '.join(sorted({m for m, _ in after.models}))}")
    parts = [_since(before.models.get((model, version)), after.models[model, version]) for version in versions]
    total = Counts(*(sum(numbers) for numbers in zip(*parts, strict=True)))
    accounted_ns = total.queue_ns + total.compute_input_ns + total.compute_infer_ns + total.compute_output_ns
    per_request = 1e-3 / total.requests if total.requests else 0.0
    return ModelSplit(
        name=model,
        requests=total.requests,
        failures=total.failures,
        inferences=total.inferences,
        executions=total.executions,
        queue_us=total.queue_ns * per_request,
        compute_input_us=total.compute_input_ns * per_request,
        compute_infer_us=total.compute_infer_ns * per_request,
        compute_output_us=total.compute_output_ns * per_request,
        overhead_us=max(0, total.request_ns - accounted_ns) * per_request,
    )


def ensemble_steps(http_url: str, model: str) -> list[str]:
    """Names of the models that the ensemble calls, in the order of its steps; none for another model.

    They are the contract's: a model's configuration is behind the server's key, its statistics are not.

    Raises:
        ServerError: nobody answers there, or the server lacks one of them.
    """
    if model != ENSEMBLE:
        return []
    steps = [name for name in CONTRACT if name != ENSEMBLE]
    served = {name for name, _ in read_statistics(http_url).models}
    missing = [name for name in steps if name not in served]
    if missing:
        raise ServerError(f"the server at {http_url} does not have {', '.join(missing)}")
    return steps


def _get(http_url: str, path: str) -> bytes:
    answer = ask(http_url, path)
    if answer is None:
        raise ServerError(f"nobody answers at http://{http_url}{path}")
    if answer.status != 200:
        raise ServerError(f"http://{http_url}{path} says {answer.status}: {answer.body[:200].decode(errors='replace')}")
    return answer.body


def _counts(model: Mapping[str, object]) -> Counts:
    """From one entry of the JSON; Triton leaves out what never happened."""
    stats = model["inference_stats"]
    if not isinstance(stats, dict):
        raise TypeError("inference_stats is no object")
    return Counts(
        requests=_number(stats, "success", "count"),
        failures=_number(stats, "fail", "count"),
        inferences=_number(model, "inference_count"),
        executions=_number(model, "execution_count"),
        request_ns=_number(stats, "success", "ns"),
        queue_ns=_number(stats, "queue", "ns"),
        compute_input_ns=_number(stats, "compute_input", "ns"),
        compute_infer_ns=_number(stats, "compute_infer", "ns"),
        compute_output_ns=_number(stats, "compute_output", "ns"),
    )


def _number(tree: Mapping[str, object], *names: str) -> int:
    """A counter in the tree, 0 where it is missing. As text too: protobuf's JSON writes 64-bit numbers so."""
    value: object = tree
    for name in names:
        value = value.get(name, 0) if isinstance(value, Mapping) else 0
    if not isinstance(value, int | str):
        raise TypeError(f"{'.'.join(names)} is no number")
    return int(value)


def _since(before: Counts | None, after: Counts) -> Counts:
    """The difference, or all of ``after`` when the version was loaded in between."""
    if before is None or any(later < earlier for earlier, later in zip(before, after, strict=True)):
        return after
    return Counts(*(later - earlier for earlier, later in zip(before, after, strict=True)))
