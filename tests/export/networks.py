"""Two-block networks of every family, with random affines, and what their export needs."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from export.crops import ParityCrops, demo_crops
from export.served_graph import ServedGraph, build_graph
from export.spread import write_random_run
from lnclip.architecture import EncoderArchitecture
from lnclip.encoder import load_run
from lnclip.spec import PreprocessSpec

SPEC = PreprocessSpec(input_px=64)

TINY = {
    "clip": EncoderArchitecture(name="clip", width=64, layers=2, heads=2, patch_px=16),
    "pe": EncoderArchitecture(name="pe", family="pe", width=64, layers=2, heads=2, patch_px=16, position_px=96),
    "pe-unresampled": EncoderArchitecture(
        name="pe", family="pe", width=64, layers=2, heads=2, patch_px=16, position_px=64
    ),
    "dinov3": EncoderArchitecture(name="dinov3", family="dinov3", width=64, layers=2, heads=2, patch_px=16),
}


def tiny_crops() -> ParityCrops:
    """(68, 64, 64, 3)."""
    return demo_crops(SPEC)


def write_tiny_run(folder: Path, name: str, *, seed: int = 0) -> Path:
    """A run of one of ``TINY``."""
    architecture = TINY[name]
    crops = tiny_crops().crops
    write_random_run(folder, architecture, crops, seed=seed, spec=SPEC, activation=architecture.activation)
    return folder


def graph_of(run: Path, change=lambda weights: None) -> ServedGraph:
    """The FP32 graph of a run, after a change of its weights (a dict of arrays)."""
    artifact, encoder = load_run(run)
    weights: dict[str, np.ndarray] = {name: value.numpy().copy() for name, value in encoder.state_dict().items()}
    change(weights)
    return build_graph(artifact, weights)
