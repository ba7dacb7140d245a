"""Gaussian noise has the moments it states, on every pixel by itself."""

from __future__ import annotations

import pytest
import torch

from kdray.core import InputError, parse
from kdray.perturbations import Gaussian
from kdray.perturbations.input_noise import gaussian
from tests.tensors import draws

GREY = torch.full((64, 3, 32, 32), 0.5)


@pytest.mark.parametrize("sigma", [0.05, 0.5])
def test_mean_is_zero_and_standard_deviation_is_sigma(sigma: float) -> None:
    noise = gaussian(GREY, sigma, draws()) - GREY
    assert abs(noise.mean()) < 4 * sigma / noise.numel() ** 0.5
    assert abs(noise.std() - sigma) < 4 * sigma / (2 * noise.numel()) ** 0.5


def test_share_within_one_and_two_sigma_is_that_of_a_normal_distribution() -> None:
    size = (gaussian(GREY, 0.3, draws()) - GREY).abs() / 0.3
    assert (size < 1).float().mean() == pytest.approx(0.6827, abs=0.005)
    assert (size < 2).float().mean() == pytest.approx(0.9545, abs=0.003)


@pytest.mark.parametrize("axis", [0, 1, 2, 3], ids=["images", "channels", "rows", "columns"])
def test_neighbours_draw_independently(axis: int) -> None:
    noise = gaussian(GREY, 1.0, draws()) - GREY
    correlation = (noise * noise.roll(1, axis)).mean()
    assert abs(correlation) < 4 / noise.numel() ** 0.5


def test_noise_is_added_to_the_image() -> None:
    black = torch.zeros(2, 1, 4, 4)
    shifted = gaussian(black + 0.25, 0.1, draws()) - gaussian(black, 0.1, draws())
    torch.testing.assert_close(shifted, black + 0.25)


def test_noise_scales_with_sigma_for_the_same_draws() -> None:
    black = torch.zeros(2, 1, 4, 4)
    torch.testing.assert_close(gaussian(black, 0.4, draws()), 2 * gaussian(black, 0.2, draws()))


def test_same_draws_same_noise_and_fresh_noise_in_every_call() -> None:
    noise, generator = Gaussian(sigma=0.1), draws()
    first, second = noise(GREY, generator), noise(GREY, generator)
    assert torch.equal(first, noise(GREY, draws()))
    assert not torch.equal(first, second)


@pytest.mark.parametrize("clip", [False, True])
def test_sigma_zero_is_the_identity(clip: bool) -> None:
    images = torch.rand(4, 3, 5, 5, generator=draws())
    assert torch.equal(Gaussian(sigma=0.0, clip=clip)(images, draws(1)), images)


def test_not_clipped_unless_asked() -> None:
    images = torch.rand(8, 1, 8, 8, generator=draws())
    noisy = Gaussian(sigma=0.5)(images, draws(1))
    assert noisy.min() < 0
    assert noisy.max() > 1
    assert torch.equal(Gaussian(sigma=0.5, clip=True)(images, draws(1)), noisy.clamp(0, 1))


@pytest.mark.parametrize("sigma", [-0.1, float("nan"), float("inf"), "0.1", True, None])
def test_a_sigma_that_is_no_standard_deviation_is_refused(sigma: object) -> None:
    with pytest.raises(InputError, match=r"^noise\.input\.sigma: "):
        parse(Gaussian, {"name": "gaussian", "sigma": sigma}, "noise.input")


def test_sigma_has_no_default() -> None:
    with pytest.raises(InputError, match=r"^sigma: is required$"):
        parse(Gaussian, {"name": "gaussian"})
