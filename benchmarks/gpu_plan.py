"""What one GPU would take, computed from stated figures: bytes, FLOP, rates, cores. Nothing here is measured on a GPU.

Every answer reads "if the matmul ceiling is so much, then". FLOP count a multiply-add as two. The encoder and
the detector share the GPU, so their times add up. docs/OPERATIONS.md shows ``plan_table`` of the numbers below.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from benchmarks.records import table
from lnclip import contract
from lnclip.contract import DETECTOR, TensorSpec
from server.model_configs import load_config
from server.repository import SOURCE
from server.shared_memory import FRAMES_PER_INSTANCE, REGION_BYTES

RETINAFACE_FLOP = 88_529_305_600
"""Of one letterbox: the 82 convolutions of ResNet-50, FPN, SSH and heads; what else there is counts for little."""

ENCODER_SHARE = 0.6
"""Of the FP16 ceiling: what DESIGN asks of ViT-L/14."""

DETECTOR_SHARE = 0.3
"""Of the ceiling of the detector's type: a guess, half of the encoder's, for convolutions fill a GPU less."""

TF32_SHARE = 0.5
"""TF32's ceiling in FP16's. Source: NVIDIA's H100 data sheet, 494.7 and 989.4 dense TFLOP/s (SXM)."""

BUSY = 0.8
"""Share of the time that a process may work: the queue before one that always works grows without end."""

ITEM_BYTES = {"UINT8": 1, "INT32": 4, "FP32": 4}
FROM_DETECTOR = (contract.BOXES, contract.SCORES, contract.LANDMARKS, contract.DETECTOR_ID)
FROM_ENCODER = (contract.P_FAKE, contract.THRESHOLD, contract.ARTIFACT_ID, contract.SPEC_ID)
"""What the ensemble asks for: the embedding stays on the GPU."""


class Work(NamedTuple):
    """What the images are."""

    faces: float
    """On one, on average; an image without any costs one black crop."""

    flop_per_face: float
    """Of the encoder: about 162e9 for ViT-L/14 at 224 pixels."""

    input_px: int = 224
    """The encoder's S."""

    max_megapixels: float = 50
    """The largest image that is accepted: /dev/shm must hold it."""


class CpuTimes(NamedTuple):
    """Processor time on one core, milliseconds."""

    decode: float
    """An image: file to frame and letterbox (image_decoder)."""

    align: float
    """A face: suppression and choice, warp, resize, flags (face_aligner); an image's choice is taken for each face."""

    transport: float
    """An image: what tritonserver and its Python processes add, face_verdict among it."""

    def per_image(self, faces: float) -> float:
        """All of it."""
        return self.decode + faces * self.align + self.transport


ONE_FACE = Work(faces=1, flop_per_face=156_385_771_520)
"""The exported ViT-L/14. Source: ``flop_per_image`` of results/2026-11-22_encoder_2.json."""

CPU_TIMES = CpuTimes(decode=5.8, align=5.5, transport=5.8)
"""Of a 1280x720 JPEG with one face, on an AMD EPYC. Source: results/2026-11-22_pipeline_3.md, the models' own work and
what the ensemble adds to one request."""

CEILINGS_TFLOPS = (400, 500, 600, 700)
"""That an H100 may show in FP16; its data sheet says 989."""


class Rates(NamedTuple):
    """What the GPU is assumed to reach."""

    ceiling_tflops: float
    """FP16 matrix products of the encoder's own shapes: what ``benchmarks encoder`` prints as the ceiling."""

    detector_type_share: float = TF32_SHARE
    """The detector's type in FP16's ceiling; 1 if its graph were FP16."""

    @property
    def encoder_flops(self) -> float:
        """FLOP a second."""
        return ENCODER_SHARE * self.ceiling_tflops * 1e12

    @property
    def detector_flops(self) -> float:
        """FLOP a second."""
        return DETECTOR_SHARE * self.detector_type_share * self.ceiling_tflops * 1e12


class Plan(NamedTuple):
    """What follows."""

    images_per_s: float
    """That the GPU could do."""

    detector_share: float
    """Of the GPU's time."""

    to_gpu_gb_s: float
    from_gpu_gb_s: float
    cores: float
    """That must work to feed it."""

    decoders: int
    """Instances of image_decoder."""

    aligners: int
    shm_gb: float
    """What those processes may put into /dev/shm."""


def tensor_bytes(specs: Sequence[TensorSpec], input_px: int) -> int:
    """Of one row of each tensor."""
    sizes = {"S": input_px}
    return sum(math.prod(spec.shape(sizes)) * ITEM_BYTES[spec.dtype] for spec in specs)


def crossing_bytes(work: Work) -> tuple[float, float]:
    """What one image moves over the bus: to the GPU, and back."""
    letterbox = tensor_bytes([contract.LETTERBOX], work.input_px)
    crop = tensor_bytes([contract.CROPS], work.input_px)
    found, scored = tensor_bytes(FROM_DETECTOR, work.input_px), tensor_bytes(FROM_ENCODER, work.input_px)
    return letterbox + work.faces * crop, found + work.faces * scored


def pinned_bytes(input_px: int) -> int:
    """Page-locked memory that the largest batch of each engine needs; Triton's pool has 256 MiB by default."""
    inputs = {DETECTOR: contract.LETTERBOX, contract.ENCODER: contract.CROPS}
    configs = {name: load_config(SOURCE / name / "config.pbtxt") for name in inputs}
    return sum(configs[name].max_batch_size * tensor_bytes([spec], input_px) for name, spec in inputs.items())


def launch_bound_batch(flop_per_row: float, flops: float, kernels: int, launch_us: float) -> float:
    """Up to which batch size launching the kernels takes longer than computing: there CUDA graphs pay."""
    return kernels * launch_us * 1e-6 / (flop_per_row / flops)


def make_plan(work: Work, cpu: CpuTimes, rates: Rates) -> Plan:
    """What a GPU of these rates could do with these images, and what must stand before it."""
    detector_s = RETINAFACE_FLOP / rates.detector_flops
    gpu_s = detector_s + work.faces * work.flop_per_face / rates.encoder_flops
    images_per_s = 1 / gpu_s
    to_gpu, from_gpu = crossing_bytes(work)
    decoders = _processes(images_per_s, cpu.decode)
    aligners = _processes(images_per_s, work.faces * cpu.align)
    frames = FRAMES_PER_INSTANCE * work.max_megapixels * 3e6
    return Plan(
        images_per_s=images_per_s,
        detector_share=detector_s / gpu_s,
        to_gpu_gb_s=images_per_s * to_gpu / 1e9,
        from_gpu_gb_s=images_per_s * from_gpu / 1e9,
        cores=images_per_s * cpu.per_image(work.faces) / 1e3,
        decoders=decoders,
        aligners=aligners,
        shm_gb=(decoders + aligners) * (frames + REGION_BYTES) / 1e9,
    )


def plan_table(work: Work, cpu: CpuTimes, ceilings_tflops: Sequence[float]) -> str:
    """Markdown: a row for each assumed ceiling, with the detector in TF32 as it is and in FP16 as it might be."""
    rows = []
    for ceiling in ceilings_tflops:
        for name, share in (("TF32", TF32_SHARE), ("FP16", 1.0)):
            plan = make_plan(work, cpu, Rates(ceiling, share))
            rows.append(
                (
                    f"{ceiling:g}",
                    name,
                    f"{plan.images_per_s:,.0f}",
                    f"{plan.detector_share:.0%}",
                    f"{plan.to_gpu_gb_s:.1f}",
                    f"{plan.cores:.0f}",
                    f"{plan.decoders} + {plan.aligners}",
                    f"{plan.shm_gb:.0f}",
                )
            )
    columns = (
        "if the FP16 ceiling is, TFLOP/s",
        "detector in",
        "then images/s",
        "detector's share of the GPU",
        "GB/s to the GPU",
        "cores busy",
        "decoders + aligners",
        "shared memory, GB",
    )
    return table(columns, rows)


def _processes(images_per_s: float, ms: float) -> int:
    """How many one-thread processes keep up, none busier than ``BUSY``."""
    return math.ceil(images_per_s * ms / 1e3 / BUSY)
