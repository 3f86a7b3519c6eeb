"""runs/NAME -> exports/NAME: graphs whose answers were compared with the reference before they got there.

An export is a folder that either passed its gate or does not exist: it is made under another name
and renamed at the end.
"""

from __future__ import annotations

import logging
import platform
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import onnx

from export.crops import ParityCrops, demo_crops, read_crops
from export.graph_files import GraphFile, write_graphs
from export.half_precision import emulated_graph
from export.parity import compare_engine, run_all
from export.report import GOLDEN_FILE, LIMITS, PARITY_FILE, Comparison, CropsReport, ParityReport, onnx_file
from lnclip.artifact import Artifact, Precision
from lnclip.engines import (
    EncoderAnswer,
    OnnxRuntimeRunner,
    OpenVinoRunner,
    Runner,
    TorchRunner,
    processor,
    supports_bf16,
)
from lnclip.errors import ConfigError, SetupError
from lnclip.golden import Golden
from lnclip.identity import file_sha256

log = logging.getLogger(__name__)

NUM_GOLDEN = 8
PACKAGES = ("lnclip", "nncf", "numpy", "onnx", "open_clip_torch", "openvino", "timm", "torch")
RUNTIMES = ("onnxruntime", "onnxruntime-gpu")
"""Distributions of ONNX Runtime, one in place of the other."""

EMULATED = "float32, every FP16 tensor rounded to FP16: as a GPU would, overflow included"


def export_run(run: Path, out: Path, precisions: Sequence[Precision], calibration: Path | None = None) -> ParityReport:
    """Write a run's graphs, each with its model.json, and parity.json; all of it or nothing.

    Args:
        run: folder with weights.safetensors and model.json.
        out: folder to make; an earlier export there is replaced.
        precisions: each becomes an artifact of its own.
        calibration: index of crops to compare on, and to calibrate int8 on; None takes the demo's.

    Raises:
        SetupError: this processor cannot compute one of the precisions, so nothing would be proven.
        ConfigError: ``out`` is something else than an export, or the index cannot be used.
        ArtifactError: the run cannot be loaded.
        ParityError: an engine disagrees with torch, or the crops could not show it.
    """
    if "bf16" in precisions and not supports_bf16():
        raise SetupError(
            "this processor has no bf16 (AVX-512 BF16 or AMX), so its parity cannot be measured here: "
            "leave bf16 out of --precision, or export on a machine that has it"
        )
    _check_target(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    source = Artifact.load(run / "model.json")
    if not source.provenance.head_trained:
        raise ConfigError(f"{run} is an encoder alone, its head is random: train it first, --set init={run}")
    spec = source.identity.spec
    crops = read_crops(calibration, spec) if calibration else demo_crops(spec)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as name:
        folder = Path(name)
        with TorchRunner(run) as runner:
            reference = run_all(runner, crops.crops)
        log.info("comparing on %d crops (%s)", len(crops.crops), crops.source)
        graphs, comparisons = [], []
        for graph in write_graphs(run, folder, precisions, crops):
            graphs.append(graph)
            comparisons += _compare(graph, reference, crops)
        _golden(folder, crops, reference).save(folder / GOLDEN_FILE)
        report = ParityReport(
            reference=runner.name,
            crops=CropsReport(
                source=crops.source,
                count=len(crops.crops),
                std_p=float(reference.p_fake.std()),
            ),
            comparisons=comparisons,
            fp16=next((graph.fp16 for graph in graphs if graph.fp16), None),
            int8=next((graph.int8 for graph in graphs if graph.int8), None),
            sha256={path.name: file_sha256(path) for path in sorted(folder.glob("*.onnx"))},
            versions=_versions(),
            processor=processor(),
        )
        (folder / PARITY_FILE).write_text(report.model_dump_json(indent=2) + "\n", encoding="utf-8")
        _put_in_place(folder, out)
    return report


def _versions() -> dict[str, str]:
    """Of Python and the packages; ONNX Runtime under the name of what is installed."""
    found = {package: version(package) for package in PACKAGES} | {"python": platform.python_version()}
    for runtime in RUNTIMES:
        with suppress(PackageNotFoundError):
            found[runtime] = version(runtime)
    return found


def _check_target(out: Path) -> None:
    """Only an export may be replaced.

    Raises:
        ConfigError: ``out`` is something else.
    """
    if out.exists() and not (out / PARITY_FILE).is_file() and not (out.is_dir() and not any(out.iterdir())):
        raise ConfigError(f"{out} is there and is no export: give another --out")


def _compare(graph: GraphFile, reference: EncoderAnswer, crops: ParityCrops) -> list[Comparison]:
    """A graph in every engine that can compute it as it will be served."""
    comparisons = []
    with ExitStack() as stack:
        for candidate in _engines(graph.path, graph.computed_as, stack):
            with candidate as runner:
                limits = LIMITS[graph.computed_as]
                found = compare_engine(reference, runner, crops, graph.artifact.identity, limits=limits)
            comparisons.append(found)
            log.info("%s: max |dp| %.2g, min cosine %.9f", found.engine, found.max_dp, found.min_cosine)
    return comparisons


def _engines(path: Path, precision: Precision, stack: ExitStack) -> Iterator[Runner]:
    """What a graph is proven in: OpenVINO, and beside it ONNX Runtime where that shows something else."""
    if precision == "fp32":
        yield OnnxRuntimeRunner(path)
    elif precision == "fp16":
        # A GPU's rounding and overflow, which no processor's FP16 shows; too large a file to keep.
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=path.parent)))
        onnx.save(emulated_graph(onnx.load(path)), folder / path.name)
        emulated = OnnxRuntimeRunner(folder / path.name, precision)
        emulated.arithmetic = EMULATED
        yield emulated
    yield OpenVinoRunner(path, precision)


def _golden(folder: Path, crops: ParityCrops, reference: EncoderAnswer) -> Golden:
    """Crops whose scores lie evenly in the order of p_fake, the extremes among them."""
    order = reference.p_fake[:, 0].argsort(kind="stable")
    chosen = order[np.linspace(0, len(order) - 1, min(NUM_GOLDEN, len(order))).round().astype(int)]
    golden = Golden(crops.crops[chosen], reference.p_fake[chosen])
    if not (folder / onnx_file("int8")).is_file():
        return golden
    with OpenVinoRunner(folder / onnx_file("int8"), "int8") as runner:
        return golden._replace(p_fake_int8=runner.run(golden.crops).p_fake)


def _put_in_place(folder: Path, out: Path) -> None:
    """Rename; an export that lies there gives way at the last moment."""
    folder.chmod(0o755)  # temporary folders are private
    if out.exists():
        retired = folder.with_name(folder.name + ".old")
        out.rename(retired)
        folder.rename(out)
        shutil.rmtree(retired)
    else:
        folder.rename(out)
    folder.mkdir()  # for the context manager to remove
