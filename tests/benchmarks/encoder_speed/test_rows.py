"""The table's arithmetic and the design's targets, on seconds written by hand."""

import pytest

from benchmarks.encoder_speed.measuring import Measurements
from benchmarks.encoder_speed.plotting import plot
from benchmarks.encoder_speed.products import products
from benchmarks.encoder_speed.rows import Ceiling, Row, ceilings, rows
from benchmarks.encoder_speed.targets import figures, has_vnni
from benchmarks.encoder_speed.ways import Way, baselines, ways
from lnclip.architecture import KNOWN

LARGE = KNOWN["ViT-L-14"]
ONE_FACE, BATCHED = baselines("cpu")
INT8, BF16 = Way("openvino", "int8"), Way("openvino", "bf16")


@pytest.fixture
def measured():
    found = Measurements(
        seconds={
            (INT8, 8): [[1.0], [1.0, 0.5, 1.0], [2.0]],  # 8, 8 and 4 images/s
            (ONE_FACE, 8): [[16.0], [20.0], [16.0]],  # 0.5, 0.4, 0.5
            (BATCHED, 8): [[8.0], [10.0], [8.0]],  # 1, 0.8, 1
        }
    )
    found.checks.update(dict.fromkeys((ONE_FACE, BATCHED, INT8)))  # type: ignore[arg-type]
    shapes = products(LARGE, 224, 8)
    for multiplier, speed in (("torch", 0.1), ("openvino", 0.2)):  # TFLOP/s, every product alike
        found.ceiling["fp32", 8, multiplier] = {shape.name: [shape.flop / speed / 1e12] for shape in shapes}
    return found


@pytest.fixture
def made(measured) -> dict[Way, Row]:
    return {row.way: row for row in rows(measured, ceilings(measured, LARGE, 224), LARGE, 224, "cpu")}


def test_the_better_multiplier_is_the_ceiling(measured):
    (ceiling,) = ceilings(measured, LARGE, 224)
    assert ceiling.by == {"torch": pytest.approx(0.1), "openvino": pytest.approx(0.2)}
    assert (ceiling.precision, ceiling.batch, ceiling.best) == ("fp32", 8, pytest.approx(0.2))


def test_speeds_are_medians_over_the_rounds(made):
    row = made[INT8]
    assert row.images_per_s == 8
    assert row.spread == (4, 8)
    assert row.batch_ms == 1000


def test_ratios_are_medians_of_the_rounds_ratios(made):
    assert made[INT8].to_batched == pytest.approx(8)  # of 8/1, 8/0.8, 4/1
    assert made[INT8].to_one_face == pytest.approx(16)  # of 8/0.5, 8/0.4, 4/0.5
    assert made[BATCHED].to_batched == made[ONE_FACE].to_one_face == 1
    assert made[BATCHED].to_one_face == pytest.approx(2)


def test_the_share_of_the_ceiling_is_of_the_same_type(made):
    assert made[BATCHED].tflops == pytest.approx(0.162023964672)  # 1 image/s, all blocks whole
    assert made[BATCHED].ceiling_share == pytest.approx(0.162023964672 / 0.2)
    assert made[INT8].tflops == pytest.approx(8 * 0.156385771520)  # the class token alone in the last
    assert made[INT8].ceiling_share is None


def test_rows_stand_in_the_order_of_the_ways(made):
    assert list(made) == [ONE_FACE, BATCHED, INT8]


def _row(way: Way, ratio: float, share: float | None, batch: int = 8) -> Row:
    return Row(way, batch, ratio, (ratio, ratio), 1000.0, 1.0, share, 2 * ratio, ratio)


def test_targets_of_the_design_are_judged_at_batch_8():
    found = figures("ViT-L-14", [_row(BF16, 3.94, 0.9), _row(INT8, 7.2, 0.8), _row(INT8, 1, 0.1, 1)], native_int8=True)
    assert [(each.figure, each.target, each.met) for each in found] == [
        ("3.9x", "at least 4x", False),
        ("90%", "at least 85%", True),
        ("7.2x", "at least 7x", True),
        ("80%", "at least 85%", False),
    ]
    assert found[0].what == "encoder ViT-L-14, openvino bf16, batch 8, against PyTorch eager FP32"


def test_int8_is_recorded_and_not_required_where_bytes_are_not_multiplied_natively():
    (ratio,) = figures("ViT-L-14", [_row(INT8, 2.0, None)], native_int8=False)
    assert (ratio.figure, ratio.target, ratio.met, ratio.device) == ("2.0x", "-", None, "cpu")


def test_other_encoders_and_batch_sizes_have_no_targets():
    small = figures("ViT-B-16", [_row(BF16, 5.0, 0.9)], native_int8=True)
    other_size = figures("ViT-L-14", [_row(BF16, 5.0, 0.9, 4)], native_int8=True)
    assert [each.met for each in small + other_size] == [None] * 4


def test_on_a_gpu_the_fastest_batch_is_held_to_its_own_target():
    plan = Way("tensorrt", "fp16", "cuda")
    (share,) = figures("ViT-L-14", [_row(plan, 5, 0.5, 1), _row(plan, 20, 0.61, 64)], native_int8=True)
    assert (share.figure, share.target, share.met, share.device) == ("61%", "at least 60%", True, "cuda")


@pytest.mark.parametrize(("flags", "native"), [("avx2 avx512_vnni", True), ("avx2 avx512f", False)])
def test_vnni_is_read_from_the_processor(tmp_path, flags, native):
    (tmp_path / "cpuinfo").write_text(f"processor : 0\nflags : fpu {flags} sse\n")
    assert has_vnni(tmp_path / "cpuinfo") is native
    assert not has_vnni(tmp_path / "missing")


def test_names_tell_ways_apart():
    for device in ("cpu", "cuda"):
        names = [way.name for way in ways(device)]
        assert len(set(names)) == len(names)
        assert [way.name for way in baselines(device)] == names[:2]


def test_the_plot_has_a_line_for_every_way_and_ceiling(made):
    figure = plot(list(made.values()), [Ceiling("fp32", 8, {"torch": 0.2})], 10**11, "caption")
    labels = {text.get_text() for text in figure.axes[0].get_legend().get_texts()}
    assert labels == {way.name for way in made} | {"ceiling fp32"}
