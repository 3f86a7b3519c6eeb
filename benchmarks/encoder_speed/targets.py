"""Which rows answer the design's targets, in words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.encoder_speed.rows import Row
from benchmarks.records import Figure
from lnclip.artifact import Precision

TARGETED = "ViT-L-14"
"""The encoder that the targets are for."""

TARGET_BATCH = 8
MIN_RATIO: dict[Precision, float] = {"bf16": 4.0, "int8": 7.0}
"""Images/s on a processor that has the type, over open_clip's in eager FP32."""

MIN_SHARE = 0.85
MIN_SHARE_GPU = 0.60
"""Of the machine's own ceiling."""


def has_vnni(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether the processor multiplies bytes natively, as far as Linux tells."""
    if not cpuinfo.is_file():
        return False
    words = set(cpuinfo.read_text(encoding="utf-8").split())
    return bool(words & {"avx512_vnni", "avx_vnni", "amx_int8"})


def figures(encoder: str, made: Sequence[Row], *, native_int8: bool) -> list[Figure]:
    """What OpenVINO on a processor, or TensorRT on a GPU, reached.

    bf16 is here only where the processor has it; int8 runs everywhere, but its ratio is required only where bytes are
    multiplied natively.

    Args:
        encoder: whose rows these are; others than ViT-L-14 have no targets.
        made: of one run.
        native_int8: see ``has_vnni``.
    """
    served = [row for row in made if row.way.engine in ("openvino", "tensorrt")]
    if not served:
        return []
    sizes = {row.batch for row in served}
    batch = TARGET_BATCH if TARGET_BATCH in sizes else max(sizes)
    is_targeted = encoder == TARGETED
    found = []
    for row in served:
        what = f"encoder {encoder}, {row.way.name}, batch {row.batch}"
        if row.way.device == "cuda":
            if row == max(served, key=lambda each: each.images_per_s) and row.ceiling_share is not None:
                share = _share(what, row.ceiling_share, MIN_SHARE_GPU if is_targeted else None)
                found.append(share._replace(device="cuda"))
            continue
        if row.batch != batch:
            continue
        required = is_targeted and batch == TARGET_BATCH
        target = MIN_RATIO.get(row.way.precision) if required else None
        found.append(_ratio(what, row.to_batched, target if row.way.precision != "int8" or native_int8 else None))
        if row.ceiling_share is not None:
            found.append(_share(what, row.ceiling_share, MIN_SHARE if required else None))
    return found


def _ratio(what: str, ratio: float, target: float | None) -> Figure:
    figure, claim = f"{ratio:.1f}x", f"{what}, against PyTorch eager FP32"
    return Figure(claim, figure) if target is None else Figure(claim, figure, f"at least {target:g}x", ratio >= target)


def _share(what: str, share: float, target: float | None) -> Figure:
    figure, claim = f"{share:.0%}", f"{what}, share of the machine's own ceiling"
    return Figure(claim, figure) if target is None else Figure(claim, figure, f"at least {target:.0%}", share >= target)
