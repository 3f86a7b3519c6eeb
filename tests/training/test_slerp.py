import math

import pytest
import torch
from torch import nn

from lnclip.errors import ConfigError
from training.config import Slerp
from training.slerp import mix, slerp

EAST, NORTH = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def features_of(count, size=8, seed=0):
    return torch.randn(count, size, generator=generator(seed + 100)) * 3


@pytest.mark.parametrize("share", [0.0, 1 / 3, 0.5, 1.0])
def test_mixtures_of_a_right_angle_lie_at_that_share_of_it(share):
    """Half of the way from east to north is (0.7071, 0.7071), a third (0.8660, 0.5)."""
    angle = share * math.pi / 2
    mixture = slerp(EAST, 5 * NORTH, torch.tensor([share]))
    torch.testing.assert_close(mixture, torch.tensor([[math.cos(angle), math.sin(angle)]]))


def test_gradients_reach_both_ends():
    """Half-way from east to north: moving east up by e turns the end by e, and the middle by e / 2."""
    one, other = EAST.clone().requires_grad_(), NORTH.clone().requires_grad_()
    mixture = slerp(one, other, torch.tensor([0.5]))
    mixture[0, 1].backward()  # its second coordinate is the sine of its angle
    half = math.cos(math.pi / 4) / 2
    torch.testing.assert_close(one.grad, torch.tensor([[0.0, half]]))
    torch.testing.assert_close(other.grad, torch.tensor([[-half, 0.0]]), atol=1e-6, rtol=0)


def test_gradients_equal_finite_differences():
    one, other = features_of(3, 4).double(), features_of(3, 4, seed=1).double()
    share = torch.tensor([0.1, 0.5, 0.8], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda a, b: slerp(a, b, share), (one.requires_grad_(), other.requires_grad_()))


@pytest.mark.parametrize("sign", [1.0, -1.0], ids=["itself", "its opposite"])
def test_a_feature_met_by_itself_or_its_opposite_gives_numbers(sign):
    feature = features_of(5).requires_grad_()
    mixture = slerp(feature, sign * feature, torch.rand(5, generator=generator()))
    mixture.sum().backward()
    assert mixture.isfinite().all()
    assert feature.grad.isfinite().all()
    if sign > 0:
        torch.testing.assert_close(mixture, nn.functional.normalize(feature), atol=1e-4, rtol=0)


def test_off_returns_the_batch_itself():
    features, columns = features_of(4), torch.tensor([0, 1, 0, 1])
    mixed, same = mix(features, columns, Slerp(), generator())
    assert mixed is features
    assert same is columns


def test_replacing_follows_the_written_recipe():
    """Per class: a random order, then a share for each; the reference's steps with the same draws."""
    features, columns, settings = features_of(7), torch.tensor([0, 1, 1, 0, 1, 1, 0]), Slerp(mode="replace")
    mixed, same = mix(features, columns, settings, generator(3))
    draws = generator(3)
    for column, members in ((0, [0, 3, 6]), (1, [1, 2, 4, 5])):
        order = torch.randperm(len(members), generator=draws).tolist()
        shares = torch.rand(len(members), generator=draws).tolist()
        for member, partner, share in zip(members, order, shares, strict=True):
            a = features[member] / features[member].norm()
            b = features[members[partner]] / features[members[partner]].norm()
            angle = math.acos(max(-1 + 1e-7, min(1 - 1e-7, float(a @ b))))
            expected = math.sin((1 - share) * angle) / math.sin(angle) * a
            expected += math.sin(share * angle) / math.sin(angle) * b
            torch.testing.assert_close(
                mixed[member], expected, atol=1e-3 if members[partner] == member else 1e-5, rtol=0
            )
        assert (same[members] == column).all()


def test_shares_stay_between_their_limits():
    """From each of two orthogonal features of a class at most a tenth of the way to the other."""
    features, columns = torch.eye(2).repeat(50, 1), torch.zeros(100, dtype=torch.int64)
    mixed, _ = mix(features, columns, Slerp(mode="replace", share=(0.0, 0.1)), generator())
    cosine = (mixed * features).sum(dim=1)
    assert cosine.min() > math.cos(0.1 * math.pi / 2) - 1e-6
    assert cosine.min() < math.cos(0.08 * math.pi / 2)


def test_mixing_never_crosses_classes():
    """Classes on two orthogonal planes: a mixture stays on its own."""
    features = torch.cat([features_of(20, 2), torch.zeros(20, 2)], dim=1)
    features[10:] = features[10:].roll(2, dims=1)
    columns = torch.tensor([0] * 10 + [1] * 10)
    for mode in ("replace", "expand"):
        mixed, labels = mix(features, columns, Slerp(mode=mode, size=200), generator())
        assert not mixed[labels == 0][:, 2:].any()
        assert not mixed[labels == 1][:, :2].any()


def test_a_class_of_one_is_left_alone():
    features, columns = features_of(4), torch.tensor([1, 0, 1, 1])
    mixed, _ = mix(features, columns, Slerp(mode="replace"), generator())
    assert torch.equal(mixed[1], features[1])
    assert not torch.equal(mixed[0], features[0])
    expanded, labels = mix(features, columns, Slerp(mode="expand", size=10), generator())
    assert len(expanded) == 10
    assert labels.tolist() == [1, 0, 1, 1] + [1] * 6


def test_without_a_pair_nothing_is_mixed():
    features, columns = features_of(2), torch.tensor([1, 0])
    for mode in ("replace", "expand"):
        mixed, labels = mix(features, columns, Slerp(mode=mode), generator())
        assert torch.equal(mixed, features)
        assert torch.equal(labels, columns)


def test_expanding_keeps_the_features_and_the_classes_proportions():
    """16 features, 4 of one class and 12 of the other, to 128: 112 more, 28 and 84."""
    features, columns = features_of(16), torch.tensor([0, 1, 1, 1] * 4)
    expanded, labels = mix(features, columns, Slerp(mode="expand", size=128), generator())
    assert torch.equal(expanded[:16], features)
    assert torch.equal(labels[:16], columns)
    assert labels[16:].bincount().tolist() == [28, 84]
    torch.testing.assert_close(expanded[16:].norm(dim=1), torch.ones(112))


def test_expanding_reaches_the_size_whatever_it_divides_by():
    expanded, labels = mix(
        features_of(7), torch.tensor([0, 0, 0, 1, 1, 1, 1]), Slerp(mode="expand", size=20), generator()
    )
    assert len(expanded) == len(labels) == 20


def test_expanded_features_send_gradients_to_the_batch():
    features = features_of(6).requires_grad_()
    expanded, _ = mix(features, torch.tensor([0, 0, 0, 1, 1, 1]), Slerp(mode="expand", size=60), generator())
    expanded[6:].square()[:, 0].sum().backward()
    assert (features.grad.abs().sum(dim=1) > 0).all()


def test_a_batch_larger_than_the_size_is_refused():
    with pytest.raises(ConfigError, match=r"slerp.size = 3 is less than the 4 features"):
        mix(features_of(4), torch.tensor([0, 0, 1, 1]), Slerp(mode="expand", size=3), generator())


@pytest.mark.parametrize("mode", ["replace", "expand"])
def test_draws_come_from_the_generator_alone(mode):
    features, columns, settings = features_of(8), torch.arange(8) % 2, Slerp(mode=mode, size=40)
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = mix(features, columns, settings, generator(5))[0]
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    assert torch.equal(mix(features, columns, settings, generator(5))[0], first)
    assert not torch.equal(mix(features, columns, settings, generator(6))[0], first)
