"""runs/NAME -> exports/NAME: graphs whose answers were compared with the reference before they got there.

An export is a folder that either passed its gate or does not exist: it is made under another name
and renamed at the end.
"""

from __future__ import annotations

import logging
import platform
import shutil
import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnx

from export.crops import ParityCrops, read_crops, synthetic_crops
from export.parity import compare_engine, run_all
from export.report import GOLDEN_FILE, PARITY_FILE, Comparison, CropsReport, ParityReport, model_file, onnx_file
from export.served_graph import build_graph
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
PACKAGES = ("lnclip", "numpy", "onnx", "onnxruntime", "open_clip_torch", "openvino", "torch")


def export_run(run: Path, out: Path, precisions: Sequence[Precision], calibration: Path | None = None) -> ParityReport:
    """Write a run's graphs, each with its model.json, and parity.json; all of it or nothing.

    Args:
        run: folder with weights.safetensors and model.json.
        out: folder to make; an earlier export there is replaced.
        precisions: each becomes an artifact of its own.
        calibration: index of crops to compare on; None takes synthetic ones.

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
    artifact = Artifact.load(run / "model.json")
    spec = artifact.identity.spec
    crops = read_crops(calibration, spec) if calibration else synthetic_crops(spec)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as name:
        folder = Path(name)
        artifacts = _write_graphs(run, folder, precisions)
        log.info("comparing on %d crops (%s)", len(crops.crops), crops.source)
        with TorchRunner(run) as runner:
            reference = run_all(runner, crops.crops)
        comparisons = _compare(folder, artifacts, reference, crops)
        _choose_golden(crops, reference).save(folder / GOLDEN_FILE)
        report = ParityReport(
            reference=runner.name,
            crops=CropsReport(
                source=crops.source,
                count=len(crops.crops),
                std_p=float(reference.p_fake.std()),
            ),
            comparisons=comparisons,
            sha256={path.name: file_sha256(path) for path in sorted(folder.glob("*.onnx"))},
            versions={package: version(package) for package in PACKAGES} | {"python": platform.python_version()},
            processor=processor(),
        )
        (folder / PARITY_FILE).write_text(report.model_dump_json(indent=2) + "\n", encoding="utf-8")
        _put_in_place(folder, out)
    return report


def _check_target(out: Path) -> None:
    """Only an export may be replaced.

    Raises:
        ConfigError: ``out`` is something else.
    """
    if out.exists() and not (out / PARITY_FILE).is_file() and not (out.is_dir() and not any(out.iterdir())):
        raise ConfigError(f"{out} is there and is no export: give another --out")


def _write_graphs(run: Path, folder: Path, precisions: Sequence[Precision]) -> list[Artifact]:
    """The ONNX file and the model.json of each precision."""
    from lnclip.encoder import load_run  # seconds: only once the rest of the request is known to be sound

    source, encoder = load_run(run)
    weights = {name: tensor.numpy() for name, tensor in encoder.state_dict().items()}
    artifacts = []
    for precision in dict.fromkeys(precisions):
        identity = source.identity.model_copy(update={"precision": precision})
        artifact = source.model_copy(update={"identity": identity, "runtime": None})
        path = folder / onnx_file(precision)
        onnx.save(build_graph(artifact, weights), path)
        onnx.checker.check_model(path, full_check=True)
        artifact.save(folder / model_file(precision))
        artifacts.append(artifact)
        log.info("wrote %s, artifact %s", path.name, identity.artifact_id.hex)
    return artifacts


def _compare(folder: Path, artifacts: list[Artifact], reference: EncoderAnswer, crops: ParityCrops) -> list[Comparison]:
    """Every graph in every engine that can compute it as it will be served."""
    comparisons = []
    for identity in (artifact.identity for artifact in artifacts):
        path = folder / onnx_file(identity.precision)
        runners: list[Runner] = [OpenVinoRunner(path, identity.precision)]
        if identity.precision == "fp32":
            runners.insert(0, OnnxRuntimeRunner(path))
        for candidate in runners:
            with candidate as runner:
                found = compare_engine(reference, runner, crops, identity)
            comparisons.append(found)
            log.info("%s: max |dp| %.2g, min cosine %.9f", found.engine, found.max_dp, found.min_cosine)
    return comparisons


def _choose_golden(crops: ParityCrops, reference: EncoderAnswer) -> Golden:
    """Crops whose scores lie evenly in the order of p_fake, the extremes among them."""
    order = reference.p_fake[:, 0].argsort(kind="stable")
    chosen = order[np.linspace(0, len(order) - 1, min(NUM_GOLDEN, len(order))).round().astype(int)]
    return Golden(crops.crops[chosen], reference.p_fake[chosen])


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
