from __future__ import annotations

import pytest
import torch
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    CyclicLR,
    LRScheduler,
    MultiStepLR,
    OneCycleLR,
    StepLR,
)

from kdray.core import InputError, parse
from kdray.training.optimizers import (
    SGD,
    Adam,
    AdamW,
    AnyOptimizer,
    AnySchedule,
    Constant,
    Cosine,
    Cyclic,
    MultiStep,
    OneCycle,
    Optimizer,
    StepDecay,
)


def by_torch(kind: type[LRScheduler], epochs: int, **arguments: object) -> list[float]:
    """Torch's learning rate in every epoch, from 1 in the first."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], 1.0)
    scheduler = kind(optimizer, **arguments)
    rates = []
    for _ in range(epochs):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


@pytest.mark.parametrize("milestones", [(2,), (3, 5, 8), (1, 9), (20,), (4, 4)])
def test_multi_step_is_torchs(milestones: tuple[int, ...]) -> None:
    schedule = MultiStep(milestones=milestones, gamma=0.2)
    expected = by_torch(MultiStepLR, 10, milestones=list(milestones), gamma=0.2)
    assert [schedule.factor(epoch, 10) for epoch in range(10)] == pytest.approx(expected, rel=1e-12)


def test_a_milestone_acts_from_the_epoch_after_it_is_done() -> None:
    schedule = MultiStep(milestones=(60, 120), gamma=0.5)
    assert [schedule.factor(epoch, 200) for epoch in (0, 59, 60, 119, 120, 199)] == [
        1,
        1,
        0.5,
        0.5,
        0.25,
        0.25,
    ]


@pytest.mark.parametrize("period", [1, 3, 10, 40])
def test_step_is_torchs(period: int) -> None:
    expected = by_torch(StepLR, 12, step_size=period, gamma=0.3)
    found = [StepDecay(period=period, gamma=0.3).factor(epoch, 12) for epoch in range(12)]
    assert found == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("epochs", "rise"), [(10, 0.3), (30, 0.5), (7, 0.4)])
def test_one_cycle_is_torchs(epochs: int, rise: float) -> None:
    given = {"pct_start": rise, "div_factor": 10.0, "final_div_factor": 100.0}
    schedule = OneCycle(rise=rise, initial=10.0, final=100.0)
    found = [schedule.factor(epoch, epochs) for epoch in range(epochs)]
    assert found == pytest.approx(one_cycle_of_torch(epochs, given), rel=1e-9)


def one_cycle_of_torch(epochs: int, given: dict[str, float]) -> list[float]:
    """Torch refuses a step after the last one."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], 1.0)
    scheduler = OneCycleLR(optimizer, max_lr=1.0, total_steps=epochs, cycle_momentum=False, **given)
    rates = [optimizer.param_groups[0]["lr"]]
    for _ in range(epochs - 1):
        optimizer.step()
        scheduler.step()
        rates.append(optimizer.param_groups[0]["lr"])
    return rates


def test_one_cycle_of_a_single_epoch_is_the_highest_rate() -> None:
    assert OneCycle().factor(0, 1) == 1


@pytest.mark.parametrize("period", [2, 5, 10])
def test_cyclic_is_torchs(period: int) -> None:
    expected = by_torch(
        CyclicLR, 23, base_lr=0.2, max_lr=1.0, step_size_up=period / 2, cycle_momentum=False
    )
    found = [Cyclic(period=period, low=0.2).factor(epoch, 23) for epoch in range(23)]
    assert found == pytest.approx(expected, rel=1e-9)


def test_warm_up_climbs_in_equal_steps_to_what_the_schedule_gives() -> None:
    assert [Constant(warmup=4).factor(epoch, 10) for epoch in range(6)] == pytest.approx(
        [0.2, 0.4, 0.6, 0.8, 1, 1]
    )
    plain, warm = Cosine(), Cosine(warmup=2)
    ratios = [warm.factor(epoch, 8) / plain.factor(epoch, 8) for epoch in range(8)]
    assert ratios == pytest.approx([1 / 3, 2 / 3, 1, 1, 1, 1, 1, 1])


@pytest.mark.parametrize("epochs", [1, 2, 10])
def test_cosine_is_torchs(epochs: int) -> None:
    expected = by_torch(CosineAnnealingLR, epochs, T_max=epochs)
    assert [Cosine().factor(epoch, epochs) for epoch in range(epochs)] == pytest.approx(
        expected, rel=1e-9
    )


def test_cosine_goes_from_one_through_a_half_to_zero() -> None:
    assert Cosine().factor(0, 10) == 1
    assert Cosine().factor(5, 10) == pytest.approx(0.5)
    assert Cosine().factor(10, 10) == pytest.approx(0)


def test_constant_changes_nothing() -> None:
    assert {Constant().factor(epoch, 7) for epoch in range(7)} == {1.0}


def stepped(optimizer: Optimizer, gradients: list[float], start: float = 2.0) -> list[float]:
    parameter = torch.nn.Parameter(torch.tensor(start, dtype=torch.float64))
    built, path = optimizer.build(torch.nn.ParameterList([parameter])), []
    for gradient in gradients:
        parameter.grad = torch.tensor(gradient, dtype=torch.float64)
        built.step()
        path.append(parameter.item())
    return path


def test_sgd_steps_against_the_gradient_with_momentum_and_an_l2_penalty() -> None:
    w, v, expected = 2.0, 0.0, []
    for gradient in (1.0, -0.5, 0.25):
        v = 0.8 * v + gradient + 0.01 * w
        w -= 0.1 * v
        expected.append(w)
    found = stepped(SGD(learning_rate=0.1, momentum=0.8, weight_decay=0.01), [1.0, -0.5, 0.25])
    assert found == pytest.approx(expected, rel=1e-12)


def test_nesterov_looks_ahead_and_means_nothing_without_momentum() -> None:
    ahead = stepped(SGD(learning_rate=0.1, momentum=0.8, nesterov=True), [1.0])
    assert ahead == pytest.approx([2.0 - 0.1 * (1 + 0.8)])
    assert stepped(SGD(momentum=0.0, nesterov=True), [1.0]) == stepped(SGD(momentum=0.0), [1.0])


def test_adam_steps_by_the_bias_corrected_ratio_of_moments() -> None:
    w, m, v, expected = 2.0, 0.0, 0.0, []
    for t, gradient in enumerate((1.0, -0.5, 0.25), start=1):
        penalised = gradient + 0.01 * w
        m, v = 0.8 * m + 0.2 * penalised, 0.95 * v + 0.05 * penalised**2
        w -= 0.1 * (m / (1 - 0.8**t)) / ((v / (1 - 0.95**t)) ** 0.5 + 1e-8)
        expected.append(w)
    adam = Adam(learning_rate=0.1, beta1=0.8, beta2=0.95, weight_decay=0.01)
    assert stepped(adam, [1.0, -0.5, 0.25]) == pytest.approx(expected, rel=1e-12)


def test_adamw_takes_the_decay_off_the_weights_and_not_into_the_moments() -> None:
    w, m, v, expected = 2.0, 0.0, 0.0, []
    for t, gradient in enumerate((1.0, -0.5, 0.25), start=1):
        m, v = 0.8 * m + 0.2 * gradient, 0.95 * v + 0.05 * gradient**2
        adam = (m / (1 - 0.8**t)) / ((v / (1 - 0.95**t)) ** 0.5 + 1e-8)
        w = w - 0.1 * 0.03 * w - 0.1 * adam
        expected.append(w)
    adamw = AdamW(learning_rate=0.1, beta1=0.8, beta2=0.95, weight_decay=0.03)
    assert stepped(adamw, [1.0, -0.5, 0.25]) == pytest.approx(expected, rel=1e-12)


def test_defaults_are_torchs_and_the_papers() -> None:
    for ours, theirs in ((Adam(), torch.optim.Adam), (AdamW(), torch.optim.AdamW)):
        reference = theirs([torch.nn.Parameter(torch.zeros(1))])
        built = ours.build(torch.nn.Linear(1, 1))
        for name in ("lr", "betas", "eps", "weight_decay"):
            assert built.param_groups[0][name] == reference.param_groups[0][name]
    assert (SGD().learning_rate, SGD().momentum, SGD().weight_decay, SGD().nesterov) == (
        0.1,
        0.9,
        0.0,
        False,
    )


def test_convolutions_learn_at_their_own_rate() -> None:
    network = torch.nn.Sequential(
        torch.nn.Conv2d(1, 2, 3), torch.nn.Flatten(), torch.nn.Linear(2, 3)
    )
    plan = SGD(learning_rate=0.17, convolution_scale=0.05, momentum=0.0)
    optimizer = plan.build(network)
    assert plan.set_rate(optimizer, 0.5) == 0.085
    before = [parameter.detach().clone() for parameter in network.parameters()]
    for parameter in network.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    moved = [
        float((a - b).mean().detach()) for a, b in zip(before, network.parameters(), strict=True)
    ]
    assert moved == pytest.approx(
        [0.00425, 0.00425, 0.085, 0.085], rel=1e-4
    )  # half of 0.0085 and of 0.17
    assert sum(len(group["params"]) for group in optimizer.param_groups) == 4


@pytest.mark.parametrize(
    ("kind", "written"),
    [
        (AnyOptimizer, {"name": "sgd", "learning_rate": 0}),
        (AnyOptimizer, {"name": "sgd", "momentum": 1}),
        (AnyOptimizer, {"name": "sgd", "weight_decay": -1}),
        (AnyOptimizer, {"name": "adam", "beta2": 1}),
        (AnyOptimizer, {"name": "adam", "momentum": 0.9}),
        (AnyOptimizer, {"name": "adamw", "weight_decay": -1}),
        (AnySchedule, {"name": "multi_step"}),
        (AnySchedule, {"name": "multi_step", "milestones": [0]}),
        (AnySchedule, {"name": "multi_step", "milestones": [1], "gamma": 2}),
        (AnySchedule, {"name": "cosine", "gamma": 0.5}),
    ],
)
def test_what_makes_no_sense_is_refused(kind: type, written: object) -> None:
    with pytest.raises(InputError):
        parse(kind, written)
