"""`benchmarks encoder`: images/s of every engine and precision that is here, checked first, measured in turn."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from benchmarks.encoder_speed.measuring import Measurements, Task, measure
from benchmarks.encoder_speed.plotting import plot
from benchmarks.encoder_speed.products import flop_per_image, products
from benchmarks.encoder_speed.rows import Ceiling, Row, ceilings, rows
from benchmarks.encoder_speed.targets import figures, has_vnni
from benchmarks.encoder_speed.ways import EXPORTED, LARGEST_BATCH, Device
from benchmarks.random_service import random_model
from benchmarks.records import RESULTS, table, write_record
from lnclip.architecture import KNOWN
from lnclip.artifact import Artifact, Identity
from lnclip.errors import ConfigError

PACKAGES = (
    "torch", "open_clip_torch", "onnx", "onnxruntime", "onnxruntime-gpu", "openvino", "nncf", "numpy",
    "tensorrt", "tensorrt-cu13",
)  # fmt: skip
COLUMNS = ("", "batch", "images/s", "min..max", "ms/batch", "TFLOP/s", "of ceiling", "/ eager", "/ one face a call")


def run_encoder(encoder: str, batch_sizes: Sequence[int], rounds: int, work: Path, out: Path = RESULTS) -> str:
    """Measure, write the record and answer the tables; on the GPU where torch sees one, else on the processor.

    Args:
        encoder: of CLIP, in ``lnclip.architecture.KNOWN``.
        batch_sizes: crops in a call.
        rounds: how often every way takes its turn.
        work: folder of a ``random_model``, made if need be with the graphs of ``ways.EXPORTED``; others that are
            missing are said to be.
        out: folder of the records.

    Raises:
        ConfigError: no such encoder or batch sizes, or ``work`` holds another encoder.
        ParityError: a baseline computes another network.
    """
    import torch

    sizes = sorted(set(batch_sizes))
    if encoder not in KNOWN:
        raise ConfigError(f"{encoder} is not one of {', '.join(KNOWN)}")
    if not sizes or sizes[0] < 1 or sizes[-1] > LARGEST_BATCH or rounds < 1:
        raise ConfigError(f"batch sizes are 1 to {LARGEST_BATCH} and there is one round at least")
    products(KNOWN[encoder], KNOWN[encoder].spec.input_px, 1)  # refuses other families before minutes of work
    made_before = work / "run" / "model.json"
    if made_before.is_file() and (held := Artifact.load(made_before).identity.encoder.name) != encoder:
        raise ConfigError(f"{work} holds {held}: give another folder")
    device: Device = "cuda" if torch.cuda.is_available() else "cpu"
    model = random_model(work, encoder, EXPORTED[device])
    identity = Artifact.load(model.run / "model.json").identity
    task = Task(run=model.run, exports=model.export, device=device, batch_sizes=sizes, rounds=rounds)
    return _write(task, measure(task), identity, out)


def _write(task: Task, measured: Measurements, identity: Identity, out: Path) -> str:
    architecture, input_px = identity.encoder, identity.spec.input_px
    found = ceilings(measured, architecture, input_px)
    made = rows(measured, found, architecture, input_px, task.device)
    flop = {whole: flop_per_image(architecture, input_px, is_last_whole=whole) for whole in (True, False)}
    device = "GPU" if task.device == "cuda" else f"processor ({measured.threads[0]} threads of torch)"
    caption = f"{architecture.name}, {input_px} px, on the {device}, median of {task.rounds} rounds in turn"
    text = "\n\n".join(
        [
            caption,
            table(COLUMNS, [_cells(row) for row in made]),
            f"An image is {flop[True] / 1e9:.4g} GFLOP in open_clip's network, {flop[False] / 1e9:.4g} in the exported "
            "graphs, whose last block computes the class token alone. Every way was first held to PyTorch's FP32 "
            "answers, within its precision's limits; one that answers otherwise is not timed. Ceiling: the better of "
            "those below, over the network's own matrix shapes at the same batch size and type.",
            _ceiling_table(found),
            *_not_here(measured),
        ]
    )
    record = {
        "settings": {
            "encoder": architecture.name,
            "device": task.device,
            "batch_sizes": list(task.batch_sizes),
            "rounds": task.rounds,
            "torch_threads": measured.threads[0],
            **(_gpu_software() if task.device == "cuda" else {}),
            "flop_per_image": {"open_clip": flop[True], "exported": flop[False]},
        },
        "rows": [{**row._asdict(), "way": row.way.name} for row in made],
        "ceilings": [each._asdict() for each in found],
        "not_here": measured.not_here,
        "checks": {way.name: each.model_dump(mode="json") for way, each in measured.checks.items()},
        "samples": [
            {"way": way.name, "batch": batch, "call_seconds": seconds}
            for (way, batch), seconds in measured.seconds.items()
        ],
        "ceiling_samples": [
            {"precision": precision, "batch": batch, "by": multiplier, "seconds": seconds}
            for (precision, batch, multiplier), seconds in measured.ceiling.items()
        ],
    }
    path = write_record(
        "encoder",
        record,
        text,
        plot(made, found, flop[False], caption),
        packages=PACKAGES,
        figures=figures(architecture.name, made, native_int8=has_vnni()),
        folder=out,
    )
    return f"{text}\n\n{path}"


def _gpu_software() -> dict[str, str | None]:
    """CUDA as torch was built with it, and the driver; None: nvidia-smi does not say."""
    import torch

    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader", "--id=0"]
    try:
        driver = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        driver = None
    return {"cuda": torch.version.cuda, "driver": driver}


def _cells(row: Row) -> tuple[str, ...]:
    return (
        row.way.name,
        str(row.batch),
        f"{row.images_per_s:.4g}",
        "{:.4g}..{:.4g}".format(*row.spread),
        f"{row.batch_ms:.4g}",
        f"{row.tflops:.3g}",
        "-" if row.ceiling_share is None else f"{row.ceiling_share:.0%}",
        f"{row.to_batched:.2f}",
        f"{row.to_one_face:.2f}",
    )


def _ceiling_table(found: Sequence[Ceiling]) -> str:
    """Both multipliers, whoever is the better."""
    by = list(dict.fromkeys(name for each in found for name in each.by))
    return table(
        ("ceiling, TFLOP/s", "batch", *by),
        [
            (each.precision, each.batch, *(f"{each.by[name]:.3g}" if name in each.by else "-" for name in by))
            for each in found
        ],
    )


def _not_here(measured: Measurements) -> list[str]:
    lines = [f"- {name}: not here: {reason}" for name, reason in measured.not_here.items()]
    return ["\n".join(lines)] if lines else []
