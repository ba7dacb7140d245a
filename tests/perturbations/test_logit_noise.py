"""Noise on the teacher's logits: eq. 1's moments, and swapping against a loop over rows and the
example worked by hand."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from kdray.core import InputError, parse
from kdray.perturbations import SignalDependent, Swap
from kdray.perturbations.logit_noise import Which, swap_sources
from kdray.testing.samples import draws

LOGITS = 2 * torch.randn(2_000, 12, generator=draws(), dtype=torch.float64)
WORKED = torch.tensor([[0.05, 0.30, 0.28, 0.26, 0.11]], dtype=torch.float64)
both_swaps = pytest.mark.parametrize("which", ["top2", "all"])


def swapped(probabilities: Tensor, threshold: float, which: Which) -> Tensor:
    chosen = torch.ones(len(probabilities), dtype=torch.bool)
    return probabilities.gather(1, swap_sources(probabilities, chosen, threshold, which))


def by_hand(logits: Any, temperature: float, threshold: float, which: Which) -> Any:
    """Every row by itself: probabilities and logits change places together, rank by rank."""
    out = np.array(logits)
    for row in out:
        p = np.exp(row / temperature) / np.exp(row / temperature).sum()
        ranking = sorted(range(len(row)), key=lambda k: -p[k])
        pairs = list(pairwise(ranking))
        for a, b in pairs[:1] if which == "top2" else pairs:
            if p[a] - p[b] < threshold:
                p[a], p[b] = p[b], p[a]
                row[a], row[b] = row[b], row[a]
    return out


@pytest.mark.parametrize("sigma", [0.1, 0.5])
def test_factors_have_mean_1_and_standard_deviation_sigma_and_each_logit_its_own(
    sigma: float,
) -> None:
    factors = SignalDependent(sigma=sigma)(LOGITS, 4.0, draws(1)) / LOGITS - 1
    assert abs(factors.mean()) < 4 * sigma / factors.numel() ** 0.5
    assert abs(factors.std() - sigma) < 4 * sigma / (2 * factors.numel()) ** 0.5
    for axis in (0, 1):
        assert abs((factors * factors.roll(1, axis)).mean()) < 4 * sigma**2 / factors.numel() ** 0.5


def test_one_factor_per_sample_rescales_its_logits_together() -> None:
    factors = SignalDependent(sigma=0.3, per="sample")(LOGITS, 4.0, draws(1)) / LOGITS - 1
    torch.testing.assert_close(factors, factors[:, :1].expand_as(factors))
    assert abs(factors[:, 0].std() - 0.3) < 4 * 0.3 / (2 * len(factors)) ** 0.5
    assert len(factors[:, 0].unique()) == len(factors)


def test_noise_is_proportional_to_the_logits_at_any_temperature() -> None:
    noise = SignalDependent(sigma=0.3)
    torch.testing.assert_close(noise(3 * LOGITS, 4.0, draws(1)), 3 * noise(LOGITS, 1.0, draws(1)))
    assert not noise(torch.zeros(4, 3), 4.0, draws(1)).any()


@pytest.mark.parametrize("per", ["logit", "sample"])
def test_sigma_zero_is_the_identity(per: Any) -> None:
    assert torch.equal(SignalDependent(sigma=0.0, per=per)(LOGITS, 4.0, draws(1)), LOGITS)


def test_the_worked_example_comes_out() -> None:
    assert swapped(WORKED, 0.0625, "top2").tolist() == [[0.05, 0.28, 0.30, 0.26, 0.11]]
    assert swapped(WORKED, 0.0625, "all").tolist() == [[0.11, 0.28, 0.26, 0.30, 0.05]]


@both_swaps
def test_the_worked_example_comes_out_at_every_temperature(which: Which) -> None:
    for temperature in (0.5, 1.0, 4.0):
        swap = Swap(which=which, probability=1.0, threshold=0.0625)
        noisy = swap(temperature * WORKED.log(), temperature, draws())
        torch.testing.assert_close(
            torch.softmax(noisy / temperature, 1), swapped(WORKED, 0.0625, which)
        )


@both_swaps
def test_a_difference_equal_to_the_threshold_does_not_swap(which: Which) -> None:
    row = torch.tensor([[0.4375, 0.5, 0.0625]])
    assert torch.equal(swapped(row, 0.0625, which), row)
    assert swapped(row, 0.0626, which).tolist() == [[0.5, 0.4375, 0.0625]]


@both_swaps
@pytest.mark.parametrize("temperature", [1.0, 4.0])
@pytest.mark.parametrize("threshold", [0.0, 0.003, 0.02, 0.1, 1.1])
def test_equals_a_loop_over_rows_and_ranks(
    threshold: float, temperature: float, which: Which
) -> None:
    noisy = Swap(which=which, probability=1.0, threshold=threshold)(LOGITS, temperature, draws())
    expected = by_hand(LOGITS.numpy(), temperature, threshold, which)
    np.testing.assert_array_equal(noisy, expected)
    assert bool((noisy != LOGITS).any()) == (threshold > 0)


@both_swaps
def test_the_given_share_of_samples_is_considered(which: Which) -> None:
    noisy = Swap(which=which, probability=0.3, threshold=2.0)(LOGITS, 4.0, draws(1))
    changed = (noisy != LOGITS).any(1)
    assert abs(changed.double().mean() - 0.3) < 4 * (0.3 * 0.7 / len(LOGITS)) ** 0.5
    always = Swap(which=which, probability=1.0, threshold=2.0)(LOGITS, 4.0, draws(2))
    assert torch.equal(noisy, torch.where(changed[:, None], always, LOGITS))


@both_swaps
@pytest.mark.parametrize(
    "fields", [{"probability": 0.0, "threshold": 2.0}, {"probability": 1.0, "threshold": 0.0}]
)
def test_probability_0_and_threshold_0_are_the_identity(
    which: Which, fields: dict[str, float]
) -> None:
    assert torch.equal(Swap(which=which, **fields)(LOGITS, 4.0, draws(1)), LOGITS)


def test_above_every_difference_top2_exchanges_the_first_two_and_all_takes_the_first_to_the_last() -> (
    None
):
    row = torch.tensor([[0.4, 0.1, 0.3, 0.2]])
    assert swapped(row, 2.0, "top2").tolist() == torch.tensor([[0.3, 0.1, 0.4, 0.2]]).tolist()
    assert swapped(row, 2.0, "all").tolist() == torch.tensor([[0.3, 0.4, 0.2, 0.1]]).tolist()


def test_a_higher_temperature_swaps_more_because_softened_probabilities_are_closer() -> None:
    swap = Swap(probability=1.0, threshold=0.1)
    changed = [
        int((swap(LOGITS, temperature, draws()) != LOGITS).any(1).sum())
        for temperature in (1.0, 4.0)
    ]
    assert 0 < changed[0] < changed[1]


def test_the_gradient_of_a_swapped_logit_goes_to_where_it_came_from() -> None:
    row = torch.tensor([[1.0, 3.0, 2.9]], requires_grad=True)
    noisy = Swap(probability=1.0, threshold=0.1)(row, 1.0, draws())
    (noisy * torch.tensor([[5.0, 6.0, 7.0]])).sum().backward()
    assert noisy.tolist() == torch.tensor([[1.0, 2.9, 3.0]]).tolist()
    assert row.grad is not None
    assert row.grad.tolist() == [[5.0, 7.0, 6.0]]


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (SignalDependent, {"sigma": -0.1}),
        (SignalDependent, {"per": "batch", "sigma": 0.1}),
        (Swap, {"probability": 1.1, "threshold": 0.1}),
        (Swap, {"threshold": -0.1, "probability": 0.5}),
        (Swap, {"which": "top3", "probability": 0.5, "threshold": 0.1}),
    ],
)
def test_what_makes_no_sense_is_refused(kind: Any, fields: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=rf"^{next(iter(fields))}: "):
        parse(kind, {"name": kind.model_fields["name"].default, **fields})
