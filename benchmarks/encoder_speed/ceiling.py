"""What this machine can multiply at all: torch's and OpenVINO's speed over a network's own matrix shapes.

One product at a time, over and over, its weights wherever they then lie: at batch 1 a network that must fetch 24
layers' weights from memory cannot come near it. For a process of the engine's own.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
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

MIN_GPU_SAMPLE_S = 0.02
"""The same on a GPU, whose products are launched one behind the other and waited for together: networks too wait but
once a pass."""

Multiply = Callable[[], object]
"""One product; when it returns, a processor has finished it and a GPU has it in its queue."""


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
        import torch

        sample = _sample_gpu if device == "cuda" else _sample
        with torch.inference_mode():
            return {shape.name: sample(_torch_product(shape, precision, device), samples) for shape in shapes}
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


def _sample_gpu(multiply: Multiply, samples: int) -> list[float]:
    """Seconds of one call by the GPU's own clock, each the mean of as many calls as fill a sample."""
    _gpu_seconds(multiply, 1)
    calls = 1
    while _gpu_seconds(multiply, calls) < MIN_GPU_SAMPLE_S:
        calls *= 2
    return [_gpu_seconds(multiply, calls) / calls for _ in range(samples)]


def _gpu_seconds(multiply: Multiply, calls: int) -> float:
    """Of all calls together."""
    import torch

    began = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
    ended = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
    began.record()
    for _ in range(calls):
        multiply()
    ended.record()
    ended.synchronize()
    return float(began.elapsed_time(ended)) / 1000


def _torch_product(shape: Product, precision: Precision, device: Device) -> Multiply:
    import torch

    if precision == "int8":
        raise SetupError("torch has no batched product of int8 matrices")
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    left = torch.randn(shape.pairs, shape.rows, shape.inner, dtype=dtype, device=device)
    right = torch.randn(shape.pairs, shape.columns, shape.inner, dtype=dtype, device=device)
    if shape.is_linear:
        return partial(torch.nn.functional.linear, left[0], right[0])
    return partial(torch.matmul, left, right.transpose(1, 2))
