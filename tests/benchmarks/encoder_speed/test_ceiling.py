"""The ceiling: its arithmetic, and that what is timed is the product and the type that it is said to be."""

import pytest
import torch

from benchmarks.encoder_speed import ceiling
from benchmarks.encoder_speed.ceiling import _torch_product, multipliers, tflops, time_products
from benchmarks.encoder_speed.openvino_products import openvino_product
from benchmarks.encoder_speed.products import Product, products
from lnclip.architecture import KNOWN
from lnclip.engines import supports_bf16
from lnclip.errors import SetupError

LINEAR = Product("fc1", 3, 1, 10, 8, 6)
ATTENTION = Product("scores", 3, 4, 5, 8, 5)


def test_every_shape_weighs_the_time_that_a_pass_spends_in_it():
    # 2 * 10 * 8 * 6 = 960 FLOP, three times in 0.002 s; 2 * 4 * 5 * 8 * 5 = 1600 FLOP, three times in 0.006 s
    seconds = {"fc1": [0.001, 0.002, 9.0], "scores": [0.006, 0.006, 0.005]}
    assert tflops([LINEAR, ATTENTION], seconds) == pytest.approx((3 * 960 + 3 * 1600) / 0.024 / 1e12)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("shape", [LINEAR, ATTENTION], ids=["linear", "attention"])
def test_openvino_multiplies_these_shapes(shape, precision):
    answered = openvino_product(shape, precision)()
    rows = (shape.rows, shape.columns) if shape.is_linear else (shape.pairs, shape.rows, shape.columns)
    assert answered[0].shape == rows
    assert answered[0].std() == pytest.approx(shape.inner**0.5, rel=0.6)  # of standard normal factors


def test_every_product_is_timed_as_often_as_asked():
    shapes = products(KNOWN["demo-4x192-p32"], 224, 1)
    for multiplier in multipliers("cpu"):
        seconds = time_products(multiplier, "fp32", "cpu", shapes, 2)
        assert seconds.keys() == {shape.name for shape in shapes}
        assert all(len(taken) == 2 and min(taken) > 0 for taken in seconds.values())


def test_torch_multiplies_the_same_shapes(monkeypatch):
    seen = []
    monkeypatch.setattr(torch.nn.functional, "linear", lambda left, right: seen.append((left.shape, right.shape)))
    monkeypatch.setattr(torch, "matmul", lambda left, right: seen.append((left.shape, right.shape)))
    for shape in (LINEAR, ATTENTION):
        _torch_product(shape, "fp32", "cpu")()
    assert [tuple(map(tuple, shapes)) for shapes in seen] == [((10, 8), (6, 8)), ((4, 5, 8), (4, 8, 5))]


def test_a_gpu_is_waited_for_once_a_sample_and_a_sample_is_long(monkeypatch):
    """On a GPU's clock that a call moves on by 3 ms: 20 ms take eight of them."""
    happened = []

    class Event:
        def __init__(self, *, enable_timing):
            assert enable_timing

        def record(self):
            self.seen = happened.count("call")
            happened.append("record")

        def synchronize(self):
            happened.append("wait")

        def elapsed_time(self, ended):
            return 3.0 * (ended.seen - self.seen)

    modes = []

    def multiply():
        happened.append("call")
        modes.append(torch.is_inference_mode_enabled())

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: happened.append("wait for all"))
    monkeypatch.setattr(ceiling, "_torch_product", lambda *_: multiply)
    seconds = time_products("torch", "fp16", "cuda", [LINEAR], 2)
    assert seconds == {"fc1": [pytest.approx(0.003)] * 2}
    sample = ["record", *["call"] * 8, "record", "wait"]
    assert happened[-2 * len(sample) :] == sample * 2
    assert "wait for all" not in happened
    assert all(modes)


def test_torch_has_no_int8_ceiling():
    with pytest.raises(SetupError, match="no batched product of int8"):
        time_products("torch", "int8", "cpu", [LINEAR], 1)


@pytest.mark.skipif(supports_bf16(), reason="here it has bf16")
@pytest.mark.parametrize("multiplier", ["torch", "openvino"])
def test_a_type_that_the_processor_lacks_is_no_ceiling(multiplier):
    with pytest.raises(SetupError, match="no bf16"):
        time_products(multiplier, "bf16", "cpu", [LINEAR], 1)


@pytest.mark.skipif(supports_bf16(), reason="here it has bf16")
def test_a_product_that_openvino_computes_in_another_type_is_refused():
    with pytest.raises(SetupError, match="OpenVINO computes fc1 in f32 here, not bf16"):
        openvino_product(LINEAR, "bf16")


def test_on_a_gpu_torch_alone_is_asked():
    assert multipliers("cuda") == ("torch",)
