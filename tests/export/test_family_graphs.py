"""Every family's folded graph equals its unfolded network in torch, and no part of it is without effect."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from timm.layers import resample_abs_pos_embed

from export.folding import Linear
from export.graph_pe import resampled
from export.rotary import dinov3_rotary, half_order, pe_rotary
from lnclip.encoder import FaceEncoder, load_run
from lnclip.engines import OnnxRuntimeRunner, OpenVinoRunner, TorchRunner
from tests.export.networks import SPEC, TINY, graph_of, tiny_crops, write_tiny_run

FOLDING_TOLERANCE = 1e-5
"""Of p and of embeddings of length 1: float32 sums in another order."""


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", TINY)
def test_folded_equals_unfolded(name: str, seed: int, tmp_path: Path) -> None:
    run, crops = write_tiny_run(tmp_path / "run", name, seed=seed), tiny_crops().crops
    path = tmp_path / "encoder.onnx"
    onnx.save(graph_of(run).model, path)
    onnx.checker.check_model(path, full_check=True)
    with TorchRunner(run) as runner:
        reference = runner.run(crops)
    assert reference.p_fake.std() >= 0.25
    for candidate in OnnxRuntimeRunner(path), OpenVinoRunner(path, "fp32"):
        with candidate as runner:
            answer = runner.run(crops)
        np.testing.assert_allclose(answer.p_fake, reference.p_fake, atol=FOLDING_TOLERANCE)
        np.testing.assert_allclose(answer.embedding, reference.embedding, atol=FOLDING_TOLERANCE)


@pytest.mark.parametrize("name", TINY)
def test_every_weight_moves_the_embedding(name: str, tmp_path: Path) -> None:
    """So that equality above speaks of all of them, rotary tables and registers included."""
    run = write_tiny_run(tmp_path / "run", name)
    crops = torch.from_numpy(np.random.default_rng(0).normal(size=(2, 3, 64, 64)).astype(np.float32))
    _, encoder = load_run(run)
    features = encoder.visual(crops)
    features.pow(3).sum().backward()
    still = [key for key, value in encoder.visual.named_parameters() if value.grad is None or not value.grad.any()]
    assert still == []


def rotary_of_timm(encoder: FaceEncoder, grid: int) -> tuple[np.ndarray, np.ndarray]:
    sin, cos = encoder.visual.rope.get_embed(shape=(grid, grid)).numpy().astype(np.float64).T.reshape(2, 32, -1)
    return cos.T, sin.T


def test_rotary_tables_are_timms() -> None:
    grid, half = 4, 16
    dinov3 = FaceEncoder(TINY["dinov3"], "gelu", SPEC.input_px)
    cos, sin = rotary_of_timm(dinov3, grid)
    ours = dinov3_rotary(grid, 32, num_prefix=5)
    np.testing.assert_allclose(ours.cos[5:], cos, atol=1e-6)
    np.testing.assert_allclose(ours.sin[5:], np.concatenate([-sin[:, :half], sin[:, half:]], axis=1), atol=1e-6)
    assert (ours.cos[:5] == 1).all()
    assert (ours.sin[:5] == 0).all()
    pe = FaceEncoder(TINY["pe"], "gelu", SPEC.input_px)
    cos, sin = rotary_of_timm(pe, grid)
    ours = pe_rotary(grid, 6, 32, num_prefix=1)
    np.testing.assert_allclose(ours.cos[1:, :half], cos[:, ::2], atol=1e-6)
    np.testing.assert_allclose(ours.sin[1:, half:], sin[:, ::2], atol=1e-6)
    np.testing.assert_allclose(ours.sin[1:, :half], -sin[:, ::2], atol=1e-6)


def test_a_turn_by_hand() -> None:
    # Patch (0, 0) of a 1 x 1 grid lies in DINOv3's middle (0, 0): no turn. PE numbers it 1, and its first
    # band is 1: the first pair turns by 1 rad.
    assert dinov3_rotary(1, 4, 0).cos.tolist() == [[1, 1, 1, 1]]
    turned = pe_rotary(1, 1, 4, 0)
    np.testing.assert_allclose(turned.cos[0], [0.540302, 0.540302, 0.540302, 0.540302], atol=1e-6)
    np.testing.assert_allclose(turned.sin[0], [-0.841471, -0.841471, 0.841471, 0.841471], atol=1e-6)


def test_even_dimensions_of_each_head_come_first() -> None:
    ordered = half_order(Linear(np.arange(8.0)[:, None], np.arange(8.0)), heads=2)
    assert ordered.bias.tolist() == [0, 2, 1, 3, 4, 6, 5, 7]
    assert ordered.weight[:, 0].tolist() == ordered.bias.tolist()


def test_positions_are_resampled_as_timm_does() -> None:
    stored = np.random.default_rng(0).normal(size=(36, 8)).astype(np.float32)
    theirs = resample_abs_pos_embed(torch.from_numpy(stored)[None], [4, 4], [6, 6], num_prefix_tokens=0)[0]
    np.testing.assert_array_equal(resampled(stored, 6, 4), theirs.numpy())
    assert resampled(stored, 6, 6) is stored
