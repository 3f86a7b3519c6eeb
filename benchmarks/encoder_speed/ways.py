"""Through what a crop can go on this machine: engine, precision, and how it is called. Data only."""

from __future__ import annotations

from typing import Literal, NamedTuple

from lnclip.artifact import Precision

Engine = Literal["torch", "onnxruntime", "openvino", "tensorrt"]
Device = Literal["cpu", "cuda"]
Call = Literal["batched", "one face a call", "compiled"]

LARGEST_BATCH = 64
"""That is served."""

EXPORTED: dict[Device, tuple[Precision, ...]] = {"cpu": ("fp32",), "cuda": ("fp32", "fp16")}
"""Graphs that are made where they are missing. INT8, the other one of a processor, is not: its calibration takes
a quarter of an hour with ViT-L/14."""


class Way(NamedTuple):
    """One of the table's rows at every batch size."""

    engine: Engine
    precision: Precision
    device: Device = "cpu"
    call: Call = "batched"

    @property
    def name(self) -> str:
        """As tables and plots call it."""
        if self.engine != "torch":
            return f"{self.engine} {self.precision}"
        kind = "torch.compile" if self.call == "compiled" else "torch eager"
        return f"{kind} {self.precision}" + (", one face a call" if self.call == "one face a call" else "")

    @property
    def is_last_whole(self) -> bool:
        """Whether its last block works on all tokens: see ``products.flop_per_image``."""
        return self.engine == "torch"


def baselines(device: Device) -> tuple[Way, Way]:
    """What ratios are to: open_clip in eager FP32, one face a call as the papers' UI does, and batched."""
    return Way("torch", "fp32", device, "one face a call"), Way("torch", "fp32", device)


def ways(device: Device) -> list[Way]:
    """All that are tried on a device, the baselines first."""
    if device == "cuda":
        return [
            *baselines(device),
            Way("torch", "fp16", device),
            Way("torch", "fp16", device, "compiled"),
            Way("torch", "bf16", device),
            Way("onnxruntime", "fp16", device),
            Way("tensorrt", "fp16", device),
        ]
    return [
        *baselines(device),
        Way("torch", "fp32", device, "compiled"),
        Way("torch", "bf16", device),
        Way("onnxruntime", "fp32", device),
        Way("openvino", "fp32", device),
        Way("openvino", "bf16", device),
        Way("openvino", "int8", device),
    ]
