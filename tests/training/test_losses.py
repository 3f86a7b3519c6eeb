import math

import pytest
import torch
from torch import nn

from lnclip.encoder import Encoding
from training.config import TrainConfig
from training.losses import alignment, compute, uniformity

EAST, NORTH, WEST = (1.0, 0.0), (0.0, 1.0), (-1.0, 0.0)
E4, E8 = math.exp(-4), math.exp(-8)
"""exp(-2 d^2) at a right angle (d^2 = 2) and of opposite points (d^2 = 4)."""

SETTINGS = {"train_index": "crops.csv"}


def points(*rows):
    return torch.tensor(rows, requires_grad=True)


def config(**settings):
    return TrainConfig.model_validate(SETTINGS | settings)


def test_alignment_is_the_mean_squared_distance_of_same_label_pairs():
    """d^2 is 2 from east to north, and 1.6^2 + 0.8^2 = 3.2 from west to (0.6, 0.8)."""
    embedding = points(EAST, NORTH, WEST, (0.6, 0.8))
    value = alignment(embedding, torch.tensor([0, 0, 1, 1]))
    value.backward()
    assert value.item() == pytest.approx((2 + 3.2) / 2)
    # 2 / 2 pairs * (the point - its partner)
    expected = torch.tensor([(1.0, -1.0), (-1.0, 1.0), (-1.6, -0.8), (1.6, 0.8)])
    torch.testing.assert_close(embedding.grad, expected)


def test_alignment_pools_the_pairs_of_both_classes():
    """Three pairs of one class, none of the other: not a mean of classes."""
    embedding = points(EAST, NORTH, WEST, EAST)
    value = alignment(embedding, torch.tensor([1, 1, 1, 0]))
    value.backward()
    assert value.item() == pytest.approx((2 + 4 + 2) / 3)
    # 2 / 3 pairs * the sum of differences; the one by itself has none
    expected = 2 / 3 * torch.tensor([(3.0, -1.0), (0.0, 2.0), (-3.0, -1.0), (0.0, 0.0)])
    torch.testing.assert_close(embedding.grad, expected)


@pytest.mark.parametrize("columns", [[0, 1], [0], []])
def test_alignment_without_a_pair_is_zero(columns):
    embedding = torch.randn(len(columns), 3, requires_grad=True)
    value = alignment(embedding, torch.tensor(columns, dtype=torch.int64))
    assert value.item() == 0


def test_uniformity_is_the_logarithm_of_the_mean_gaussian_potential():
    """East and north, north and west at d^2 = 2; east and west at 4."""
    embedding = points(EAST, NORTH, WEST)
    value = uniformity(embedding)
    value.backward()
    assert value.item() == pytest.approx(math.log((2 * E4 + E8) / 3))
    assert value.item() == pytest.approx(-4.396349, abs=1e-6)
    # -4 exp(-2 d^2) (the point - the other), summed, over the sum of all potentials
    total = 2 * E4 + E8
    expected = torch.tensor([
        (-4 * (E4 + 2 * E8) / total, 4 * E4 / total),
        (0.0, -4 * 2 * E4 / total),
        (4 * (E4 + 2 * E8) / total, 4 * E4 / total),
    ])  # fmt: skip
    torch.testing.assert_close(embedding.grad, expected)


def test_uniformity_of_coinciding_points_is_zero_with_a_finite_gradient():
    embedding = points(EAST, EAST, EAST)
    value = uniformity(embedding)
    value.backward()
    assert value.item() == 0
    assert not embedding.grad.any()


def test_uniformity_has_a_floor():
    assert uniformity(points((10.0, 0.0), (-10.0, 0.0))).item() == pytest.approx(math.log(1e-6))


def test_uniformity_of_one_point_is_zero():
    assert uniformity(points(EAST)).item() == 0


@pytest.mark.parametrize("seed", range(3))
def test_values_and_gradients_equal_a_double_loop(seed):
    torch.manual_seed(seed)
    raw = torch.randn(17, 24, dtype=torch.float64)
    columns = torch.randint(0, 2, (17,))
    ours = nn.functional.normalize(raw).float().requires_grad_()
    looped = nn.functional.normalize(raw).requires_grad_()
    same, potentials = [], []
    for i in range(17):
        for j in range(i):
            squared = sum((looped[i, k] - looped[j, k]) ** 2 for k in range(24))
            potentials.append(torch.exp(-2 * squared))
            if columns[i] == columns[j]:
                same.append(squared)
    for value, expected in (
        (alignment(ours, columns), sum(same) / len(same)),
        (uniformity(ours), torch.log(sum(potentials) / len(potentials))),
    ):
        assert value.item() == pytest.approx(expected.item(), rel=1e-6)
        [gradient] = torch.autograd.grad(value, ours)
        [by_loop] = torch.autograd.grad(expected, looped, retain_graph=True)
        torch.testing.assert_close(gradient.double(), by_loop, atol=1e-7, rtol=1e-5)


def encoding_of(rows, embedding):
    return Encoding(torch.tensor(rows, requires_grad=True), embedding)


def test_cross_entropy_is_the_mean_of_minus_log_softmax():
    embedding, columns = points(EAST, NORTH), torch.tensor([0, 0])
    encoding = encoding_of([(2.0, 0.0), (0.0, 1.0)], embedding)
    losses = compute(encoding, columns, config())
    by_hand = (math.log(1 + math.exp(-2)) + math.log(1 + math.exp(1))) / 2
    assert losses.cross_entropy.item() == pytest.approx(by_hand)
    losses.total.backward()
    # Half of softmax less target: a mean of two.
    first, second = 1 / (1 + math.exp(-2)) - 1, 1 / (1 + math.exp(1)) - 1
    expected = torch.tensor([(first, -first), (second, -second)]) / 2
    torch.testing.assert_close(encoding.logits.grad, expected)


def test_label_smoothing_spreads_the_target_over_both_classes():
    embedding, columns = points(EAST), torch.tensor([0])
    losses = compute(encoding_of([(2.0, 0.0)], embedding), columns, config(label_smoothing=0.1))
    by_hand = 0.95 * math.log(1 + math.exp(-2)) + 0.05 * math.log(1 + math.exp(2))
    assert losses.total.item() == pytest.approx(by_hand)


@pytest.mark.parametrize(("align", "spread"), [(0.1, 0.5), (0.1, 0), (0, 0.5)])
def test_the_total_is_the_weighted_sum(align, spread):
    embedding, columns = points(EAST, NORTH, WEST), torch.tensor([1, 1, 0])
    encoding = encoding_of([(0.0, 0.0)] * 3, embedding)
    settings = config(alignment_weight=align, uniformity_weight=spread)
    losses = compute(encoding, columns, settings)
    by_hand = math.log(2) + align * 2 + spread * math.log((2 * E4 + E8) / 3)
    losses.total.backward()
    assert embedding.grad.any()
    assert losses.total.item() == pytest.approx(by_hand)
    assert [value.item() for value in losses[1:]] == pytest.approx([math.log(2), 2, math.log((2 * E4 + E8) / 3)])


def test_terms_of_weight_zero_are_reported_but_not_minimised():
    """Not even as zero times a value that is no number."""
    embedding, columns = points(EAST, (math.nan, 0.0)), torch.tensor([1, 1])
    encoding = encoding_of([(0.0, 1.0), (1.0, 0.0)], embedding)
    losses = compute(encoding, columns, config())
    assert torch.equal(losses.total, losses.cross_entropy)
    assert math.isnan(losses.alignment)
    assert math.isnan(losses.uniformity)
    losses.total.backward()
    assert embedding.grad is None
    assert encoding.logits.grad.isfinite().all()


def test_weighted_terms_reach_the_embedding():
    joint = points(EAST, WEST)
    settings = config(alignment_weight=1, uniformity_weight=1)
    losses = compute(encoding_of([(0.0, 3.0)] * 2, joint), torch.tensor([1, 1]), settings)
    assert [value.item() for value in losses[1:]] == pytest.approx([math.log(1 + math.exp(-3)), 4, -8])
    losses.total.backward()
    torch.testing.assert_close(joint.grad, torch.tensor([(4.0 - 8, 0.0), (-4.0 + 8, 0.0)]))


def test_autocast_does_not_round_the_losses():
    torch.manual_seed(0)
    embedding, columns = nn.functional.normalize(torch.randn(16, 8)), torch.arange(16) % 2
    logits = torch.randn(16, 2)
    settings = config(alignment_weight=0.1, uniformity_weight=0.5)
    expected = compute(Encoding(logits, embedding), columns, settings)
    with torch.autocast("cpu", torch.bfloat16):
        losses = compute(Encoding(logits, embedding), columns, settings)
    assert losses == expected
    rounded = embedding.bfloat16()
    halves = compute(Encoding(logits.bfloat16(), rounded), columns, settings)
    assert all(value.dtype == torch.float32 for value in halves)
    assert halves.uniformity.item() == pytest.approx(uniformity(rounded.float()).item())
