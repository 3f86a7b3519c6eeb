"""Moving scales and shifts into the next layer changes nothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from export.folding import MIDDLE, Linear, fold_affine, fold_pixels, fold_scale
from lnclip.preprocess import normalise
from lnclip.spec import PreprocessSpec

TOLERANCE = 1e-5
"""Of outputs around 1: float32 sums of some dozens of terms in another order."""


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), inputs=st.integers(1, 64), outputs=st.integers(1, 64))
def test_an_affine_folds_into_the_layer_behind_it(seed: int, inputs: int, outputs: int) -> None:
    rng = np.random.default_rng(seed)
    gain, shift, x = (rng.normal(size=shape).astype(np.float32) for shape in (inputs, inputs, (5, inputs)))
    layer = Linear(
        rng.normal(size=(outputs, inputs)).astype(np.float32) / np.sqrt(inputs),
        rng.normal(size=outputs).astype(np.float32),
    )
    unfolded = (gain * x + shift) @ layer.weight.T + layer.bias
    folded = fold_affine(gain, shift, layer).rounded()
    np.testing.assert_allclose(x @ folded.weight.T + folded.bias, unfolded, atol=TOLERANCE)


def test_normalisation_folds_into_the_patch_convolution() -> None:
    spec, rng = PreprocessSpec(), np.random.default_rng(0)
    patch = rng.integers(0, 256, (1, 14, 14, 3), dtype=np.uint8)
    weight = rng.normal(size=(8, 3, 14, 14)).astype(np.float32) / 24
    bias = rng.normal(size=8).astype(np.float32)
    unfolded = np.einsum("nchw,ochw->no", normalise(patch, spec), weight) + bias
    folded = fold_pixels(Linear(weight, bias), spec.mean, spec.std).rounded()
    pixels = patch.transpose(0, 3, 1, 2).astype(np.float32) - MIDDLE
    np.testing.assert_allclose(
        np.einsum("nchw,ochw->no", pixels, folded.weight) + folded.bias, unfolded, atol=TOLERANCE
    )


def test_one_pixel_worked_out_by_hand() -> None:
    # (51/255 - 0.4) / 0.5 = -0.4, (102/255 - 0.4) / 0.2 = 0, (255/255 - 0.4) / 0.3 = 2.
    # Weights 1, 2, 3 give 5.6, and the bias is 10.
    weight = np.array([1.0, 2.0, 3.0]).reshape(1, 3, 1, 1)
    folded = fold_pixels(Linear(weight, np.array([10.0])), (0.4, 0.4, 0.4), (0.5, 0.2, 0.3))
    answer = (folded.weight.reshape(3) * [51 - 128, 102 - 128, 255 - 128]).sum() + folded.bias[0]
    assert answer == pytest.approx(-0.4 + 0.0 + 6.0 + 10.0)


def test_a_temperature_scales_weight_and_bias() -> None:
    folded = fold_scale(Linear(np.array([[2.0]]), np.array([4.0])), 0.5)
    assert folded.weight.tolist() == [[1.0]]
    assert folded.bias.tolist() == [2.0]


def test_a_layer_scale_is_one_factor_for_each_output() -> None:
    folded = fold_scale(Linear(np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([5.0, 6.0])), np.array([10.0, 100.0]))
    assert folded.weight.tolist() == [[10.0, 20.0], [300.0, 400.0]]
    assert folded.bias.tolist() == [50.0, 600.0]
