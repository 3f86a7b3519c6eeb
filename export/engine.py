"""exports/NAME -> its plan: one GPU's own form of the graph, with a manifest of how it was made.

    face_encoder.fp16.plan, .plan.json (manifest), .plan.log (what the builder said)

Where the plan can run here, it must pass the same gate as the graph it was built from, or it is not
written.
"""

from __future__ import annotations

import hashlib
import logging
import tempfile
from pathlib import Path

from export.candidate import proven_limit
from export.engine_builders import Builder, Gpu, compute_capability, find_builder, find_gpu, make_logger
from export.engine_manifest import BatchProfile, BuilderName, EngineManifest, log_file, manifest_file, plan_file
from export.plan_building import PlanOptions, build, parse, product_types
from export.plan_runner import PlanRunner, check_plan
from export.report import GOLDEN_FILE, PARITY_FILE, model_file, onnx_file
from lnclip.artifact import Artifact, Precision
from lnclip.contract import ENCODER
from lnclip.errors import ArtifactError, ConfigError, SetupError
from lnclip.golden import Golden
from lnclip.identity import file_sha256
from server.model_configs import load_config
from server.repository import SOURCE

log = logging.getLogger(__name__)

TIMING_CACHES = Path("build/timing")
"""One for each builder, version and GPU."""

REFIT_BROKEN = "11.3.0"
"""Refittable plans of this TensorRT may lose the bias of a matrix product.
Source: its release notes, "known issues", and the page on refitting engines."""

PRODUCTS: dict[Precision, str] = {"fp32": "FLOAT", "fp16": "HALF"}
"""Precision -> type in which most matrix products must be, else the plan would be slow without a word."""


def served_profile(model: str = ENCODER) -> BatchProfile:
    """Batches of one to what the served config allows, tuned for half of that.

    Under load batches are large; a plan tuned for the very largest is slow for a single face.
    """
    largest = int(load_config(SOURCE / model / "config.pbtxt").max_batch_size)
    return BatchProfile(opt=max(1, largest // 2), max=largest)


def build_engine(
    exports: Path,
    precision: Precision = "fp16",
    *,
    builder: BuilderName | None = None,
    target_gpu: str | None = None,
    refittable: bool = False,
) -> EngineManifest:
    """Build the plan of one of an export's graphs, replacing an earlier one.

    Args:
        exports: folder of ``export onnx``.
        precision: which graph.
        builder: None takes tensorrt where it is installed, else tensorrt_rtx.
        target_gpu: "SM89" to build for a GPU that is not here (tensorrt_rtx alone); None: the one here.
        refittable: whether ``export refit`` may put other weights in.

    Raises:
        ConfigError: the precision has no typed graph, or the builder no such target.
        SetupError: the builder or a GPU is missing.
        ArtifactError: the export is not whole, or the builder refuses its graph.
        PublishError: parity.json does not prove the graph.
        ParityError: the plan answers otherwise than the reference.
    """
    if precision not in PRODUCTS:
        raise ConfigError(f"there is no plan in {precision}: that is OpenVINO's way to compute; --precision fp16")
    found, gpu = find_builder(builder), find_gpu()
    capability = compute_capability(found, target_gpu, gpu)
    if refittable:
        check_refit_possible(found, gpu)
    artifact, onnx = Artifact.load(exports / model_file(precision)), exports / onnx_file(precision)
    max_dp = proven_limit(exports / PARITY_FILE, artifact, onnx)
    profile, here = served_profile(), None if target_gpu else gpu
    options = PlanOptions(
        profile=profile, target=target_gpu, refittable=refittable, timing_cache=_timing_cache(found, here)
    )
    logger = make_logger(found, exports / log_file(precision))
    network = parse(found, logger, onnx)
    products = product_types(network)
    log.info("%s %s: %d layers, matrix products %s", found.name, found.version, network.num_layers, dict(products))
    if not products[PRODUCTS[precision]]:
        raise ArtifactError(f"{onnx} says {precision}, but none of its matrix products is: export it again")
    plan = build(found, network, options)
    manifest = EngineManifest(
        builder=found.name,
        builder_version=found.version,
        gpu=here.name if here else None,
        compute_capability=capability,
        profile=profile,
        refittable=refittable,
        onnx_sha256=file_sha256(onnx),
        plan_sha256=hashlib.sha256(plan).hexdigest(),
        golden_dp=None,
    )
    return write_plan(exports, artifact, plan, manifest, max_dp)


def write_plan(
    exports: Path, artifact: Artifact, plan: bytes, manifest: EngineManifest, max_dp: float
) -> EngineManifest:
    """Put a plan and its manifest into an export, if it passes the gate where it can run.

    Raises:
        ParityError: it answers otherwise than the reference; nothing is written.
    """
    precision = artifact.identity.precision
    with tempfile.TemporaryDirectory(prefix=".plan.", dir=exports) as name:
        staged = Path(name) / plan_file(precision)
        staged.write_bytes(plan)
        if manifest.gpu is not None:
            golden = Golden.load(exports / GOLDEN_FILE)
            with PlanRunner(staged, find_builder(manifest.builder)) as runner:
                manifest = manifest.model_copy(update={"golden_dp": check_plan(runner, golden, artifact, max_dp)})
        (exports / manifest_file(precision)).unlink(missing_ok=True)  # a plan without one is refused by name
        staged.replace(exports / plan_file(precision))
    manifest.save(exports / manifest_file(precision))
    return manifest


def check_refit_possible(builder: Builder, gpu: Gpu | None) -> None:
    """Refuse what would crash or answer wrongly.

    Raises:
        SetupError: there is no GPU, or this TensorRT must not be refitted.
    """
    if gpu is None:
        raise SetupError("refittable plans are made and refitted on a GPU, and there is none here")
    if builder.name == "tensorrt" and builder.version.startswith(REFIT_BROKEN):
        raise SetupError(f"TensorRT {REFIT_BROKEN} loses biases of refittable plans: use another version")


def _timing_cache(builder: Builder, gpu: Gpu | None) -> Path | None:
    """Where this builder's measurements on this GPU are kept."""
    if gpu is None:
        return None
    return TIMING_CACHES / f"{builder.name}-{builder.version}-{gpu.name.replace(' ', '_')}.cache"
