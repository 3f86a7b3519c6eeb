"""An ONNX graph into a plan: parse, check, profile, build. Nothing here knows which network it is.

Networks are strongly typed: the graph says what is computed in FP16, no builder flag does.
"""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from export.engine_builders import Builder
from export.engine_manifest import BatchProfile
from lnclip.errors import ArtifactError

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class PlanOptions:
    """What a plan is to be."""

    profile: BatchProfile
    target: str | None = None
    """"SM89", for tensorrt_rtx alone; None: the GPU here."""

    refittable: bool = False
    tf32: bool = False
    """Whether FP32 products may be rounded to TF32: three decimal digits, several times the speed."""

    timing_cache: Path | None = None
    """Of tensorrt: what was measured for an earlier plan of these shapes is not measured again."""


def parse(builder: Builder, logger: Any, onnx: Path) -> Any:  # noqa: ANN401 - untyped modules
    """A graph as a strongly typed network.

    Raises:
        ArtifactError: the parser refuses it, with its reasons.
    """
    api = builder.api
    factory = api.Builder(logger)
    network = factory.create_network(1 << int(api.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = api.OnnxParser(network, logger)
    if not parser.parse_from_file(str(onnx)):
        reasons = "; ".join(str(parser.get_error(index).desc()) for index in range(parser.num_errors))
        raise ArtifactError(f"{builder.name} cannot read {onnx}: {' '.join(reasons.split())}")
    return network


def layer_types(network: Any) -> list[tuple[str, str, str]]:  # noqa: ANN401 - untyped modules
    """Name, kind and type of the first output of every layer: ("ln_pre", "NORMALIZATION", "FLOAT")."""
    layers = (network.get_layer(index) for index in range(network.num_layers))
    return [(layer.name, layer.type.name, layer.get_output(0).dtype.name) for layer in layers if layer.num_outputs]


def product_types(network: Any) -> Counter[str]:  # noqa: ANN401 - untyped modules
    """How many matrix products a network computes in which type."""
    return Counter(dtype for _, kind, dtype in layer_types(network) if kind == "MATRIX_MULTIPLY")


def build(builder: Builder, network: Any, options: PlanOptions) -> bytes:  # noqa: ANN401 - untyped modules
    """The plan of a network with one input, whose first dimension is the batch.

    Raises:
        ArtifactError: the builder could not build it; its log says why.
    """
    api = builder.api
    factory = network.builder
    config = factory.create_builder_config()
    config.profiling_verbosity = api.ProfilingVerbosity.DETAILED  # the layer dump names layers and types
    if not options.tf32:
        config.clear_flag(api.BuilderFlag.TF32)
    if options.refittable:
        config.set_flag(api.BuilderFlag.REFIT)
    if options.target is not None:
        config.num_compute_capabilities = 1
        config.set_compute_capability(getattr(api.ComputeCapability, options.target), 0)
    profile = factory.create_optimization_profile()
    source = network.get_input(0)
    sides = tuple(source.shape)[1:]
    sizes = options.profile
    profile.set_shape(source.name, *((batch, *sides) for batch in (sizes.min, sizes.opt, sizes.max)))
    config.add_optimization_profile(profile)
    cache = options.timing_cache if builder.name == "tensorrt" else None  # in tensorrt_rtx caches do nothing
    if cache is not None:
        known = cache.read_bytes() if cache.is_file() else b""
        config.set_timing_cache(config.create_timing_cache(known), ignore_mismatch=False)
    plan = factory.build_serialized_network(network, config)
    if plan is None:
        raise ArtifactError(f"{builder.name} could not build the plan: the last lines of its log say why")
    if cache is not None:
        cache.parent.mkdir(parents=True, exist_ok=True)
        cache.write_bytes(bytes(config.get_timing_cache().serialize()))
    return bytes(plan)
