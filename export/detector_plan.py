"""RetinaFace's graph into the plan that the production config of face_detector loads."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple, Self

from export.engine import served_profile
from export.engine_builders import Builder, Gpu, compute_capability, find_builder, find_gpu, make_logger
from export.engine_manifest import EngineManifest
from export.plan_building import PlanOptions, build, parse
from lnclip.contract import DETECTOR
from lnclip.identity import file_sha256
from lnclip.retinaface_onnx import GRAPH

PLAN = "model.plan"
MANIFEST = "model.plan.json"


class PlanTarget(NamedTuple):
    """With what a plan is built, and for what."""

    builder: Builder
    gpu: Gpu | None
    target: str | None = None
    """"SM89", where there is no GPU."""

    @classmethod
    def here(cls) -> Self:
        """What Triton can serve on this machine.

        Raises:
            SetupError: tensorrt or a GPU is missing.
        """
        return cls(find_builder("tensorrt"), find_gpu())


def write_plan(folder: Path, target: PlanTarget) -> list[str]:
    """Build FOLDER/model.onnx into FOLDER/model.plan, with its manifest.

    Returns:
        Names of the files.

    Raises:
        SetupError: there is no GPU to build for.
        ArtifactError: the builder refuses the graph.
    """
    builder, gpu, ahead = target
    capability = compute_capability(builder, ahead, gpu)
    network = parse(builder, make_logger(builder, folder / f"{PLAN}.log"), folder / GRAPH)
    profile = served_profile(DETECTOR)
    # Boxes within a tenth of a pixel are exact enough: TF32 is several times as fast.
    plan = build(builder, network, PlanOptions(profile=profile, target=ahead, tf32=True))
    (folder / PLAN).write_bytes(plan)
    EngineManifest(
        builder=builder.name,
        builder_version=builder.version,
        gpu=gpu.name if gpu else None,
        compute_capability=capability,
        profile=profile,
        refittable=False,
        onnx_sha256=file_sha256(folder / GRAPH),
        plan_sha256=hashlib.sha256(plan).hexdigest(),
        golden_dp=None,
    ).save(folder / MANIFEST)
    return [PLAN, MANIFEST]
