"""PNI and CNI are what their formulas say, computed by NumPy; their draws have the formulas'
moments."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from kdray.core import InputError, canonical, parse
from kdray.perturbations.weight_noise import (
    AnyWeightNoise,
    Coloured,
    Independent,
    coloured,
    independent,
)
from kdray.testing.samples import draws

SHAPE = (3, 2, 2, 2)


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=draws(seed), dtype=torch.float64)


WEIGHT, AMPLITUDE, DIAGONAL, FACTOR = (
    normal(*SHAPE, seed=0),
    normal(*SHAPE, seed=1),
    normal(*SHAPE, seed=2),
    normal(24, 5, seed=3),
)


def test_independent_noise_is_the_amplitude_times_the_spread_of_the_weights_times_the_draw() -> (
    None
):
    epsilon = normal(*SHAPE, seed=4)
    w, a, e = (tensor.numpy() for tensor in (WEIGHT, AMPLITUDE, epsilon))
    np.testing.assert_allclose(
        independent(WEIGHT, AMPLITUDE, epsilon), a * np.std(w, ddof=1) * e, rtol=1e-12
    )


def test_coloured_noise_is_diagonal_plus_low_rank() -> None:
    epsilon, shared = normal(*SHAPE, seed=4), normal(5, seed=5)
    w, d, f, e, u = (tensor.numpy() for tensor in (WEIGHT, DIAGONAL, FACTOR, epsilon, shared))
    expected = [
        np.sqrt(abs(d.flat[i]) * np.std(w, ddof=1)) * e.flat[i]
        + sum(f[i, k] * u[k] for k in range(5))
        for i in range(24)
    ]
    found = coloured(WEIGHT, DIAGONAL, FACTOR, epsilon, shared)
    np.testing.assert_allclose(found, np.reshape(expected, SHAPE), rtol=1e-10)


def test_independent_noise_has_mean_zero_and_its_standard_deviation() -> None:
    epsilon = normal(20_000, *SHAPE, seed=6)
    drawn = torch.stack([independent(WEIGHT, AMPLITUDE, each) for each in epsilon])
    deviation = AMPLITUDE.abs() * WEIGHT.std(correction=1)
    assert (drawn.mean(0).abs() < 5 * deviation / 20_000**0.5).all()
    torch.testing.assert_close(drawn.std(0), deviation, rtol=0.03, atol=0)


def test_coloured_noise_has_the_covariance_of_its_diagonal_and_factor() -> None:
    epsilon, shared = normal(20_000, *SHAPE, seed=6), normal(20_000, 5, seed=7)
    drawn = torch.stack(
        [coloured(WEIGHT, DIAGONAL, FACTOR, e, u) for e, u in zip(epsilon, shared, strict=True)]
    ).flatten(1)
    expected = torch.diag(DIAGONAL.abs().flatten() * WEIGHT.std(correction=1)) + FACTOR @ FACTOR.T
    deviations = expected.diagonal().sqrt()
    assert (drawn.mean(0).abs() < 5 * deviations / 20_000**0.5).all()
    scale = deviations[:, None] * deviations
    torch.testing.assert_close(drawn.T.cov() / scale, expected / scale, rtol=0, atol=0.04)


def test_without_coefficients_there_is_no_noise() -> None:
    zero, epsilon = torch.zeros(SHAPE), torch.randn(SHAPE)
    weight = WEIGHT.float()
    assert not independent(weight, zero, epsilon).any()
    assert coloured(weight, zero, torch.zeros(24, 5), epsilon, torch.randn(5)).abs().max() < 1e-5


@pytest.mark.parametrize("constant", [0.0, 0.3])
def test_weights_that_are_all_equal_have_no_spread_and_finite_gradients(constant: float) -> None:
    weight = torch.full(SHAPE, constant)
    assert independent(weight, torch.ones(SHAPE), torch.randn(SHAPE)).abs().max() < 1e-6
    diagonal = torch.ones(SHAPE, requires_grad=True)
    coloured(
        weight, diagonal, torch.zeros(24, 5), torch.randn(SHAPE), torch.randn(5)
    ).sum().backward()
    assert diagonal.grad is not None
    assert diagonal.grad.isfinite().all()


def test_a_gradient_reaches_every_coefficient_as_the_formulas_say() -> None:
    a, d, f = (tensor.clone().requires_grad_() for tensor in (AMPLITUDE, DIAGONAL, FACTOR))
    epsilon, shared, s = normal(*SHAPE, seed=4), normal(5, seed=5), WEIGHT.std(correction=1)
    independent(WEIGHT, a, epsilon).sum().backward()
    coloured(WEIGHT, d, f, epsilon, shared).sum().backward()
    torch.testing.assert_close(a.grad, s * epsilon)
    torch.testing.assert_close(
        d.grad, epsilon * DIAGONAL.sign() * (s / (4 * DIAGONAL.abs())).sqrt()
    )
    torch.testing.assert_close(f.grad, shared.expand(24, 5))


def test_the_gradient_of_a_diagonal_of_zero_is_finite() -> None:
    d = torch.zeros(SHAPE, requires_grad=True)
    coloured(
        WEIGHT.float(), d, torch.zeros(24, 5), torch.randn(SHAPE), torch.randn(5)
    ).square().sum().backward()
    assert d.grad is not None
    assert d.grad.isfinite().all()


def test_the_noise_itself_gives_weights_no_gradient() -> None:
    weight = WEIGHT.clone().requires_grad_()
    noise = independent(weight, AMPLITUDE.clone().requires_grad_(), normal(*SHAPE, seed=4))
    (gradient,) = torch.autograd.grad((weight + noise).sum(), weight)
    torch.testing.assert_close(gradient, torch.ones_like(weight))


def test_defaults_are_the_papers() -> None:
    assert (Independent().amplitude, Coloured().amplitude) == (0.25, 0.25)
    assert (Coloured().diagonal, Coloured().factor, Coloured().rank) == (0.0625, 0.01, 5)


@pytest.mark.parametrize(
    "value", [Independent(amplitude=0.5), Coloured(rank=2), Coloured()], ids=str
)
def test_noise_is_read_back_from_its_canonical_json(value: Independent | Coloured) -> None:
    assert parse(AnyWeightNoise, canonical(value)) == value  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("field", "wrong"), [("amplitude", -0.1), ("diagonal", -1), ("rank", 0), ("rank", 1.5)]
)
def test_what_is_no_noise_is_refused(field: str, wrong: float) -> None:
    with pytest.raises(InputError, match=field):
        parse(Coloured, {"name": "cni", field: wrong})


def test_the_spread_of_three_weights_is_that_of_a_sample() -> None:
    """(1, 2, 4) have mean 7/3 and squared deviations 16/9 + 1/9 + 25/9 = 42/9: s² is half of it."""
    weight, once = torch.tensor([1.0, 2.0, 4.0]), torch.ones(3)
    torch.testing.assert_close(independent(weight, once, once), torch.full((3,), (7 / 3) ** 0.5))


def test_a_single_weight_has_no_spread() -> None:
    weight, once = torch.tensor([[3.0]]), torch.ones(1, 1)
    assert independent(weight, once, once).tolist() == [[0.0]]
