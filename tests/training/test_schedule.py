import pytest
import torch
from torch.optim.lr_scheduler import ConstantLR, CosineAnnealingLR, CosineAnnealingWarmRestarts, LinearLR, SequentialLR

from training.config import TrainConfig
from training.schedule import learning_rate

RECIPE = {
    "train_index": "crops.csv", "learning_rate": 3e-4, "final_learning_rate": 1e-5,
    "epochs": 30, "warmup_epochs": 1, "restart_epochs": 10,
}  # fmt: skip


def config(**settings):
    return TrainConfig.model_validate(RECIPE | settings)


def trace(settings, steps_per_epoch):
    return [learning_rate(settings, step, steps_per_epoch) for step in range(settings.epochs * steps_per_epoch)]


def torchs_trace(schedulers, milestones, steps):
    """What an optimiser with those schedulers, one after the other, would use at each step."""
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=3e-4)
    schedule = SequentialLR(optimiser, [make(optimiser) for make in schedulers], milestones)
    rates = []
    for _ in range(steps):
        rates.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        schedule.step()
    return rates


@pytest.mark.parametrize(
    ("epoch", "expected"),
    [(0, 1e-5), (1, 3e-4), (6, 1.55e-4), (10, 1.71e-5), (11, 3e-4), (20, 1.71e-5), (21, 3e-4), (30, 1.71e-5)],
)
def test_the_second_papers_rates_at_the_start_of_epochs(epoch, expected):
    """Source: reference implementation's verified trace; the end is nine tenths of the third cosine."""
    assert learning_rate(config(), epoch * 900, 900) == pytest.approx(expected, rel=2e-3)


def test_the_warm_up_is_linear_in_steps():
    assert trace(config(), 4)[:5] == pytest.approx([1e-5, 8.25e-5, 1.55e-4, 2.275e-4, 3e-4])


def test_warm_up_and_restarts_equal_torchs():
    warmup = lambda optimiser: LinearLR(optimiser, start_factor=1e-5 / 3e-4, total_iters=7)  # noqa: E731
    restarts = lambda optimiser: CosineAnnealingWarmRestarts(optimiser, T_0=70, eta_min=1e-5)  # noqa: E731
    assert trace(config(), 7) == pytest.approx(torchs_trace([warmup, restarts], [7], 210), rel=1e-9)


def test_one_cosine_to_the_end_equals_torchs():
    """The first paper's: 8e-5 to 5e-5 without warm-up."""
    settings = config(restart_epochs=None, warmup_epochs=0, epochs=10, learning_rate=8e-5, final_learning_rate=5e-5)
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=8e-5)
    schedule = CosineAnnealingLR(optimiser, T_max=50, eta_min=5e-5)
    for rate in trace(settings, 5):
        assert rate == pytest.approx(optimiser.param_groups[0]["lr"], rel=1e-9)
        optimiser.step()
        schedule.step()
    assert learning_rate(settings, 50, 5) == pytest.approx(5e-5)


def test_one_cosine_begins_after_the_warm_up_and_ends_with_the_run():
    settings = config(restart_epochs=None, epochs=11)
    assert learning_rate(settings, 4, 4) == pytest.approx(3e-4)
    assert learning_rate(settings, 24, 4) == pytest.approx(1.55e-4)
    assert learning_rate(settings, 44, 4) == pytest.approx(1e-5)


def test_a_constant_rate_follows_the_warm_up():
    warmup = lambda optimiser: LinearLR(optimiser, start_factor=1e-5 / 3e-4, total_iters=3)  # noqa: E731
    constant = lambda optimiser: ConstantLR(optimiser, factor=1)  # noqa: E731
    assert trace(config(schedule="constant"), 3) == pytest.approx(torchs_trace([warmup, constant], [3], 90))


def test_lengths_that_are_no_whole_epochs_count_in_steps():
    settings = config(warmup_epochs=0.5, restart_epochs=1.5)
    assert learning_rate(settings, 2, 4) == 3e-4
    assert learning_rate(settings, 5, 4) == pytest.approx(1.55e-4)
    assert learning_rate(settings, 8, 4) == 3e-4


def test_a_peak_below_the_final_rate_is_kept():
    settings = config(learning_rate=1e-6)
    assert set(trace(settings, 2)) == {1e-6}
