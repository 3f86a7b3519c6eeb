"""The plan for one GPU: its arithmetic, against numbers worked out by hand, and its one counted constant."""

from __future__ import annotations

import json

import pytest

from benchmarks.gpu_plan import (
    CPU_TIMES,
    FROM_DETECTOR,
    FROM_ENCODER,
    ONE_FACE,
    RETINAFACE_FLOP,
    CpuTimes,
    Rates,
    Work,
    crossing_bytes,
    launch_bound_batch,
    make_plan,
    pinned_bytes,
    plan_table,
    tensor_bytes,
)
from benchmarks.readme_table import OPERATIONS, planned
from benchmarks.records import RESULTS
from lnclip.contract import CROPS, LETTERBOX

CPU = CpuTimes(decode=6.0, align=3.25, transport=1.5)
WORK = Work(faces=2, flop_per_face=162e9)


def test_tensors_have_the_bytes_of_the_contract() -> None:
    assert tensor_bytes([LETTERBOX], 224) == 640 * 640 * 3 == 1_228_800
    assert tensor_bytes([CROPS], 224) == 150_528
    assert tensor_bytes([CROPS], 336) == 338_688
    assert tensor_bytes(FROM_DETECTOR, 224) == 256 * (4 + 1 + 10) * 4 + 4 == 15_364
    assert tensor_bytes(FROM_ENCODER, 224) == 24


def test_an_image_crosses_as_its_letterbox_and_its_crops() -> None:
    assert crossing_bytes(WORK) == (1_228_800 + 2 * 150_528, 15_364 + 2 * 24)


def test_the_largest_batches_need_29_megabytes_of_pinned_memory() -> None:
    assert pinned_bytes(224) == 16 * 1_228_800 + 64 * 150_528 == 29_294_592


def test_the_detector_has_as_many_operations_as_stated() -> None:
    """Counted over the convolutions of the network that is exported, on tensors without content."""
    import torch

    from export.retinaface_export import build_network

    network, counted = build_network().to("meta"), []

    def count(layer: torch.nn.Conv2d, _: object, output: torch.Tensor) -> None:
        window = layer.kernel_size[0] * layer.kernel_size[1] * layer.in_channels // layer.groups
        counted.append(2 * output.numel() * window)

    for layer in network.modules():
        if isinstance(layer, torch.nn.Conv2d):
            layer.register_forward_hook(count)
    network(torch.empty(1, 3, 640, 640, device="meta"))
    assert (sum(counted), len(counted)) == (RETINAFACE_FLOP, 82)


def test_encoder_and_detector_share_the_gpu() -> None:
    """At a ceiling of 600: encoder 324e9 / 360e12 = 0.900 ms, detector 88.53e9 / (0.3 x 300e12) = 0.984 ms."""
    plan = make_plan(WORK, CPU, Rates(600))
    assert plan.images_per_s == pytest.approx(1e3 / (0.9 + 0.98366), rel=1e-4)
    assert plan.detector_share == pytest.approx(0.98366 / 1.88366, rel=1e-4)


def test_a_detector_in_fp16_takes_half_the_time() -> None:
    plan = make_plan(WORK, CPU, Rates(600, detector_type_share=1.0))
    assert plan.images_per_s == pytest.approx(1e3 / (0.9 + 0.98366 / 2), rel=1e-4)


def test_cores_and_processes_follow_from_the_rate() -> None:
    """530.88 images/s x (6 + 2 x 3.25 + 1.5 = 14 ms); a process may be busy four fifths of the time."""
    plan = make_plan(WORK, CPU, Rates(600))
    assert plan.cores == pytest.approx(0.53088 * 14, rel=1e-4)
    assert plan.decoders == 4, "0.53088 x 6 / 0.8 = 3.98"
    assert plan.aligners == 5, "0.53088 x 6.5 / 0.8 = 4.31"
    assert plan.shm_gb == pytest.approx(9 * (2 * 150e6 + 16 * 2**20) / 1e9)
    assert plan.to_gpu_gb_s == pytest.approx(530.88 * 1_529_856 / 1e9, rel=1e-4)
    assert plan.from_gpu_gb_s == pytest.approx(530.88 * 15_412 / 1e9, rel=1e-4)


def test_twice_the_ceiling_is_twice_the_rate_and_twice_the_cores() -> None:
    slow, fast = (make_plan(WORK, CPU, Rates(ceiling)) for ceiling in (300, 600))
    assert fast.images_per_s == pytest.approx(2 * slow.images_per_s)
    assert fast.cores == pytest.approx(2 * slow.cores)
    assert fast.detector_share == pytest.approx(slow.detector_share)


def test_launches_outweigh_arithmetic_in_small_batches_only() -> None:
    """150 kernels of 10 us are 1.5 ms; a face is 162e9 / 324e12 = 0.5 ms."""
    assert launch_bound_batch(162e9, 324e12, kernels=150, launch_us=10) == pytest.approx(3.0)


def test_the_page_says_up_to_which_batch_launches_outweigh() -> None:
    flops = Rates(700).encoder_flops
    low, high = (round(launch_bound_batch(ONE_FACE.flop_per_face, flops, 170, launch_us)) for launch_us in (5, 15))
    assert f"launching outweighs computing up to {low} to {high} faces" in OPERATIONS.read_text(encoding="utf-8")


def test_the_table_says_if_and_then() -> None:
    lines = plan_table(WORK, CPU, [300, 600]).splitlines()
    assert "if the FP16 ceiling is" in lines[0]
    assert "then images/s" in lines[0]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]
    assert [row[:2] for row in cells] == [["300", "TF32"], ["300", "FP16"], ["600", "TF32"], ["600", "FP16"]]
    assert cells[2][2:4] == ["531", "52%"]


def test_the_numbers_are_those_of_the_records() -> None:
    pipeline = json.loads((RESULTS / "2026-11-22_pipeline_3.json").read_text())
    own_ms = {hop["where"]: hop["own_ms"] for hop in pipeline["hops"]}
    added = next(share["value"] for share in pipeline["shares"] if share["unit"] == "ms")
    assert pytest.approx((own_ms["image_decoder"], own_ms["face_aligner"], added), abs=0.05) == CPU_TIMES
    encoder = json.loads((RESULTS / "2026-11-22_encoder_2.json").read_text())
    assert encoder["settings"]["flop_per_image"]["exported"] == ONE_FACE.flop_per_face


def test_operations_shows_the_plan_as_it_is() -> None:
    text = OPERATIONS.read_text(encoding="utf-8")
    assert planned() == text, "stale: python -m benchmarks readme"
    said = "decode and letterbox {:g}, choice and cut of one face {:g} (timed together);\n{:g} between"
    assert said.format(*CPU_TIMES) in text
