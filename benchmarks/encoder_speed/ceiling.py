"""What this machine can multiply at all: torch's and OpenVINO's speed over a network's own matrix shapes.

One product at a time, over and over, its weights wherever they then lie: at batch 1 a network that must fetch 24
layers' weights from memory cannot come near it. For a process of the engine's own.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal

import numpy as np

from benchmarks.encoder_speed.products import Product
from benchmarks.encoder_speed.ways import Device
from lnclip.artifact import Precision
from lnclip.engines import supports_bf16
from lnclip.errors import SetupError

Multiplier = Literal["torch", "openvino"]

MIN_SAMPLE_S = 0.005
"""A product that is over sooner is repeated within one sample."""

Multiply = Callable[[], object]
"""One product, finished when it returns."""


def multipliers(device: Device) -> tuple[Multiplier, ...]:
    """Who is asked: on a GPU torch alone."""
    return ("torch",) if device == "cuda" else ("torch", "openvino")


def time_products(
    multiplier: Multiplier, precision: Precision, device: Device, shapes: list[Product], samples: int
) -> dict[str, list[float]]:
    """Seconds of one call of each product, ``samples`` times, after one that warms up.

    Raises:
        SetupError: the type is not here.
    """
    if precision == "bf16" and device == "cpu" and not supports_bf16():
        raise SetupError("this processor has no bf16 (AVX-512 BF16 or AMX)")
    if multiplier == "torch":
        return {shape.name: _sample(_torch_product(shape, precision, device), samples) for shape in shapes}
    from benchmarks.encoder_speed.openvino_products import openvino_product

    return {shape.name: _sample(openvino_product(shape, precision), samples) for shape in shapes}


def tflops(shapes: list[Product], seconds: dict[str, list[float]]) -> float:
    """Total FLOP of a pass / total time of its products, each at its median: so every shape weighs what it takes."""
    flop = sum(shape.repeats * shape.flop for shape in shapes)
    return flop / sum(shape.repeats * float(np.median(seconds[shape.name])) for shape in shapes) / 1e12


def _sample(multiply: Multiply, samples: int) -> list[float]:
    multiply()
    taken = []
    for _ in range(samples):
        calls, began = 0, time.perf_counter()
        while not calls or time.perf_counter() - began < MIN_SAMPLE_S:
            multiply()
            calls += 1
        taken.append((time.perf_counter() - began) / calls)
    return taken


def _torch_product(shape: Product, precision: Precision, device: Device) -> Multiply:
    import torch

    if precision == "int8":
        raise SetupError("torch has no batched product of int8 matrices")
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    left = torch.randn(shape.pairs, shape.rows, shape.inner, dtype=dtype, device=device)
    right = torch.randn(shape.pairs, shape.columns, shape.inner, dtype=dtype, device=device)

    def multiply() -> None:
        with torch.inference_mode():
            if shape.is_linear:
                torch.nn.functional.linear(left[0], right[0])
            else:
                torch.matmul(left, right.transpose(1, 2))
            if device == "cuda":
                torch.cuda.synchronize()

    return multiply
