"""Every graph of an export on the same labelled crops, held to torch FP32; the record of it."""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.accuracy.agreement import Agreement, Labelled, agree, figure, label, power
from benchmarks.accuracy.engines import Answering, Candidate, NotHere, candidates, opened, score
from benchmarks.accuracy.plot import plot_agreements
from benchmarks.records import RESULTS, Figure, table, write_record
from export.report import LIMITS, model_file
from lnclip.artifact import Artifact, Identity, Precision
from lnclip.engines import TorchRunner
from lnclip.errors import ConfigError, SetupError
from lnclip.identity import file_sha256
from lnclip.index import Item, read_index
from lnclip.metrics import CONFIDENCE, RESAMPLES, Floats

log = logging.getLogger(__name__)

PACKAGES = ("torch", "open_clip_torch", "openvino", "onnxruntime", "onnx", "nncf", "numpy")
INTERVAL = f"{CONFIDENCE:.0%} interval"
COLUMNS = ("", "AUROC", "minus torch's", INTERVAL, "max dp", "99th percentile", "rank correlation", "limits")
DIGITS = 8
"""Decimals of a kept score: float32 has no more between 0.5 and 1."""

LEGEND = (
    "dp is the absolute difference of p_fake to torch FP32, on the same crop. The interval is of the difference of "
    f"AUROC: {RESAMPLES:,} paired resamples, all crops of a video drawn together. Limits: `export/report.py`."
)


class Measured(NamedTuple):
    """What was asked, in the order of asking."""

    reference: Floats
    """(N,) torch's p_fake."""

    scores: dict[Candidate, Floats]
    """(N,) of each engine that answered."""

    not_here: list[NotHere]


def run_accuracy(exports: Path, index: Path, *, run: Path | None = None, out: Path = RESULTS) -> str:
    """Score an index of crops with torch and with every graph; write the record and answer the table.

    Args:
        exports: folder of ``export onnx``.
        index: labelled crops.
        run: the weights that it was exported from; None takes runs/NAME beside exports/NAME.
        out: folder of the record.

    Raises:
        ConfigError: the index cannot be used, or the export is not of that run.
        ArtifactError: a file of the run or of the export is missing or damaged.
        ParityError: an engine answers no numbers, or for other weights.
    """
    folder = run or exports.absolute().parent.parent / "runs" / exports.absolute().name
    found = candidates(exports)
    identity, graphs = _identities(exports, folder, found)
    items = read_index(index, "crop")
    crops = label(items, index)
    with TorchRunner(folder) as torch:
        reference = _timed(torch, items, identity)
    measured = Measured(reference, {}, [each for each in found if isinstance(each, NotHere)])
    _ask_engines(exports, items, graphs, [each for each in found if isinstance(each, Candidate)], measured)
    agreements = {way: agree(way.precision, reference, p, crops) for way, p in measured.scores.items()}
    caption = f"{identity.encoder.name}: {power(list(agreements.values()), crops)}"
    text = table(COLUMNS, _rows(agreements, measured))
    settings = {
        "encoder": identity.encoder.name,
        "artifacts": {precision: graph.artifact_id.hex for precision, graph in graphs.items()},
        "index_sha256": file_sha256(index),
        "crops": len(items),
        "fakes": int(crops.is_fake.sum()),
        "videos": crops.num_clips,
        "resamples": RESAMPLES,
    }
    path = write_record(
        "accuracy",
        {"settings": settings, **_facts(agreements, measured, crops)},
        f"{caption}\n\n{text}\n\n{LEGEND}",
        plot_agreements({way.name: (each, measured.scores[way] - reference) for way, each in agreements.items()}),
        packages=PACKAGES,
        folder=out,
        figures=_figures(agreements, len(items), identity.encoder.name),
    )
    return f"{caption}\n{text}\n{path}"


def _identities(
    exports: Path, run: Path, found: Sequence[Candidate | NotHere]
) -> tuple[Identity, dict[Precision, Identity]]:
    """The run's identity, and what each graph's model.json says.

    Raises:
        ArtifactError: there is no such run.
        ConfigError: a graph was not exported from this run as it is now.
    """
    if not (run / "model.json").is_file():
        raise ConfigError(f"{run} is no run, and the reference is torch on the run's weights: give --run")
    identity, graphs = Artifact.load(run / "model.json").identity, dict[Precision, Identity]()
    for precision in (each.precision for each in found if isinstance(each, Candidate)):
        graphs[precision] = Artifact.load(exports / model_file(precision)).identity
        if graphs[precision] != identity.model_copy(update={"precision": precision}):
            raise ConfigError(
                f"{exports}: its {precision} graph is not of {run} as it is now: give --run or export again"
            )
    return identity, graphs


def _ask_engines(
    exports: Path, items: list[Item], graphs: dict[Precision, Identity], ways: Sequence[Candidate], measured: Measured
) -> None:
    """One engine after the other, so that no two lie in memory; fills ``measured``.

    Raises:
        SetupError: this machine can run none of them.
    """
    for way in ways:
        with tempfile.TemporaryDirectory() as scratch:
            try:
                with opened(way, exports, Path(scratch)) as engine:
                    measured.scores[way] = _timed(engine, items, graphs[way.precision])
            except SetupError as error:
                log.warning("%s: not here: %s", way.name, error)
                measured.not_here.append(NotHere(way.name, str(error)))
    if not measured.scores:
        reasons = "; ".join(f"{each.engine}: {each.reason}" for each in measured.not_here)
        raise SetupError(f"no graph of {exports} can be run here: {reasons}")


def _timed(engine: Answering, items: list[Item], identity: Identity) -> Floats:
    started_s = time.monotonic()
    p_fake = score(engine, items, identity)
    log.info("%s: %d crops in %.0f s", engine.name, len(items), time.monotonic() - started_s)
    return p_fake


def _figures(agreements: Mapping[Candidate, Agreement], num_crops: int, encoder: str) -> list[Figure]:
    """One of each precision: TensorRT's where it answered, for it is what a GPU serves, else its first engine's."""
    leading: dict[Precision, Candidate] = {}
    for way in agreements:
        if way.kind == "TensorRT":
            leading[way.precision] = way
        leading.setdefault(way.precision, way)
    return [
        figure(agreements[way], num_crops, encoder, way.kind)._replace(
            device="cuda" if way.kind == "TensorRT" else "cpu"
        )
        for way in leading.values()
    ]


def _rows(agreements: Mapping[Candidate, Agreement], measured: Measured) -> list[tuple[str, ...]]:
    """The table's: torch, the engines that answered, those that are not here."""
    rows = [_cells(way, agreement) for way, agreement in agreements.items()]
    reference = next(iter(agreements.values())).ranking.auroc_reference
    torch = ("torch fp32", f"{reference:.4f}", *["-"] * (len(COLUMNS) - 2))
    absent = [(each.engine, *["-"] * (len(COLUMNS) - 2), f"not here: {each.reason}") for each in measured.not_here]
    return [torch, *rows, *absent]


def _cells(way: Candidate, agreement: Agreement) -> tuple[str, ...]:
    ends, ranking = agreement.difference_interval, agreement.ranking
    verdicts = {True: "kept", None: "kept, provisional", False: "; ".join(agreement.complaints)}
    return (
        way.name,
        f"{ranking.auroc:.4f}",
        f"{agreement.auroc_difference:+.4f}",
        f"{ends[0]:+.4f}..{ends[1]:+.4f}" if ends else "-",
        f"{agreement.max_dp:.1e}",
        f"{agreement.p99_dp:.1e}",
        f"{ranking.spearman:.6f}",
        verdicts[agreement.met],
    )


def _row_facts(way: Candidate, agreement: Agreement) -> dict[str, object]:
    return {
        "engine": way.name,
        "arithmetic": way.arithmetic,
        **agreement._asdict(),
        "ranking": agreement.ranking.model_dump(),
        "limits": LIMITS[way.precision].model_dump(),
        "met": agreement.met,
        "complaints": agreement.complaints,
    }


def _facts(agreements: Mapping[Candidate, Agreement], measured: Measured, crops: Labelled) -> dict[str, object]:
    """Rows and every score, in the order of the index, which its SHA-256 names."""
    scores = {"torch fp32": measured.reference, **{way.name: p for way, p in measured.scores.items()}}
    return {
        "rows": [_row_facts(way, agreement) for way, agreement in agreements.items()],
        "not_here": [each._asdict() for each in measured.not_here],
        "samples": {
            "is_fake": crops.is_fake.astype(int).tolist(),
            "video": crops.clips.tolist(),
            "p_fake": {name: p.round(DIGITS).tolist() for name, p in scores.items()},
        },
    }
