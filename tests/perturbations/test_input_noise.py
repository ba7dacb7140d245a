"""Every noise on images has the distribution it states, on every pixel by itself."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from kdray.core import InputError, parse, tag_of
from kdray.perturbations import Gaussian, GaussianSNR, Laplace, Poisson, UniformNoise
from kdray.perturbations.input_noise import gaussian, laplace, poisson, uniform, white_noise
from kdray.testing.samples import draws
from tests.tensors import distance_from_uniform

GREY = torch.full((64, 3, 32, 32), 0.5)
KURTOSIS = {gaussian: 3.0, laplace: 6.0, uniform: 1.8}
every_additive = pytest.mark.parametrize("noise", KURTOSIS, ids=lambda noise: noise.__name__)
every_sigma_kind = pytest.mark.parametrize("kind", [Gaussian, Laplace, UniformNoise])


def cumulative(noise: Any, x: Tensor) -> Tensor:
    """The distribution function of ``noise`` at standard deviation 1, in double precision."""
    if noise is gaussian:
        return (1 + torch.erf(x / math.sqrt(2))) / 2
    if noise is laplace:
        return 0.5 + x.sign() * (1 - torch.exp(-x.abs() * math.sqrt(2))) / 2
    return 0.5 + x / (2 * math.sqrt(3))


@every_additive
@pytest.mark.parametrize("sigma", [0.05, 0.5])
def test_mean_is_zero_and_standard_deviation_is_sigma(noise: Any, sigma: float) -> None:
    drawn = noise(GREY, sigma, draws()) - GREY
    assert abs(drawn.mean()) < 4 * sigma / drawn.numel() ** 0.5
    assert (
        abs(drawn.std() - sigma) < 4 * sigma * ((KURTOSIS[noise] - 1) / (4 * drawn.numel())) ** 0.5
    )


@every_additive
def test_the_distribution_is_the_one_it_is_named_after(noise: Any) -> None:
    drawn = (noise(GREY, 0.3, draws()) - GREY).double() / 0.3
    assert distance_from_uniform(cumulative(noise, drawn)) < 1.95
    for other in KURTOSIS.keys() - {noise}:
        assert distance_from_uniform(cumulative(other, drawn)) > 10


def test_share_within_one_and_two_sigma_is_that_of_a_normal_distribution() -> None:
    size = (gaussian(GREY, 0.3, draws()) - GREY).abs() / 0.3
    assert (size < 1).float().mean() == pytest.approx(0.6827, abs=0.005)
    assert (size < 2).float().mean() == pytest.approx(0.9545, abs=0.003)


def test_uniform_noise_moves_no_pixel_by_more_than_root_3_sigma_and_laplace_some_by_much_more() -> (
    None
):
    black = torch.zeros(64, 3, 32, 32)
    assert 0.99 < uniform(black, 0.2, draws()).abs().max() / (0.2 * math.sqrt(3)) <= 1
    assert laplace(black, 0.2, draws()).abs().max() > 5 * 0.2


@pytest.mark.parametrize("edge", [0.0, 1 - 2**-24])
def test_laplace_noise_is_finite_at_the_least_and_the_greatest_draw(
    edge: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "rand", lambda shape, **_: torch.full(shape, edge))
    noise = laplace(torch.zeros(1, 1, 2, 2), 1.0, draws()).abs()
    torch.testing.assert_close(noise, torch.full_like(noise, -math.log(1 - edge) / math.sqrt(2)))


@every_additive
@pytest.mark.parametrize("axis", [0, 1, 2, 3], ids=["images", "channels", "rows", "columns"])
def test_neighbours_draw_independently(noise: Any, axis: int) -> None:
    drawn = noise(GREY, 1.0, draws()) - GREY
    correlation = (drawn * drawn.roll(1, axis)).mean()
    assert abs(correlation) < 4 / drawn.numel() ** 0.5


@every_additive
def test_noise_is_added_to_the_image(noise: Any) -> None:
    black = torch.zeros(2, 1, 4, 4)
    shifted = noise(black + 0.25, 0.1, draws()) - noise(black, 0.1, draws())
    torch.testing.assert_close(shifted, black + 0.25)


@every_additive
def test_noise_scales_with_sigma_for_the_same_draws(noise: Any) -> None:
    black = torch.zeros(2, 1, 4, 4)
    torch.testing.assert_close(noise(black, 0.4, draws()), 2 * noise(black, 0.2, draws()))


@pytest.mark.parametrize(
    "noise",
    [
        Gaussian(sigma=0.1),
        Laplace(sigma=0.1),
        UniformNoise(sigma=0.1),
        Poisson(),
        GaussianSNR(snr=10),
    ],
    ids=lambda noise: noise.name,
)
def test_same_draws_same_noise_and_fresh_noise_in_every_call(noise: Any) -> None:
    generator = draws()
    first, second = noise(GREY, generator), noise(GREY, generator)
    assert torch.equal(first, noise(GREY, draws()))
    assert not torch.equal(first, second)


@every_sigma_kind
@pytest.mark.parametrize("clip", [False, True])
def test_sigma_zero_is_the_identity(kind: Any, clip: bool) -> None:
    images = torch.rand(4, 3, 5, 5, generator=draws())
    assert torch.equal(kind(sigma=0.0, clip=clip)(images, draws(1)), images)


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (Gaussian, {"sigma": 0.5}),
        (Laplace, {"sigma": 0.5}),
        (UniformNoise, {"sigma": 0.5}),
        (GaussianSNR, {"snr": 1}),
    ],
)
def test_not_clipped_unless_asked(kind: Any, fields: dict[str, Any]) -> None:
    images = torch.rand(8, 1, 8, 8, generator=draws())
    noisy = kind(**fields)(images, draws(1))
    assert noisy.min() < 0
    assert noisy.max() > 1
    assert torch.equal(kind(**fields, clip=True)(images, draws(1)), noisy.clamp(0, 1))


@pytest.mark.parametrize("sigma", [-0.1, float("nan"), float("inf"), "0.1", True, None])
@every_sigma_kind
def test_a_sigma_that_is_no_standard_deviation_is_refused(kind: Any, sigma: object) -> None:
    with pytest.raises(InputError, match=r"^noise\.input\.sigma: "):
        parse(kind, {"name": tag_of(kind), "sigma": sigma}, "noise.input")


@every_sigma_kind
def test_sigma_has_no_default(kind: Any) -> None:
    with pytest.raises(InputError, match=r"^sigma: is required$"):
        parse(kind, {"name": tag_of(kind)})


@pytest.mark.parametrize("peak", [4.0, 255.0])
@pytest.mark.parametrize("value", [0.1, 0.5, 1.0])
def test_poisson_noise_has_mean_x_and_variance_x_over_peak(value: float, peak: float) -> None:
    noisy = poisson(torch.full(GREY.shape, value), peak, draws()).double()
    variance, count = value / peak, noisy.numel()
    assert abs(noisy.mean() - value) < 4 * (variance / count) ** 0.5
    # Fourth central moment of a Poisson count of mean m: 3m² + m.
    spread = ((2 * (value * peak) ** 2 + value * peak) / count) ** 0.5 / peak**2
    assert abs(noisy.var() - variance) < 4 * spread


def test_poisson_counts_are_whole_and_as_frequent_as_the_formula_says() -> None:
    counts = 4 * poisson(GREY, 4.0, draws())
    assert torch.equal(counts, counts.round())
    for k in range(6):
        expected = math.exp(-2) * 2**k / math.factorial(k)
        deviation = (counts == k).double().mean() - expected
        assert abs(deviation) < 4 * (expected * (1 - expected) / counts.numel()) ** 0.5


def test_under_poisson_noise_black_stays_black_and_more_photons_are_less_noise() -> None:
    assert not Poisson()(torch.zeros(2, 1, 8, 8), draws()).any()
    spreads = [
        float((Poisson(peak=peak)(GREY, draws()) - GREY).std()) for peak in (10.0, 255.0, 1e6)
    ]
    assert spreads[0] > spreads[1] > spreads[2]
    assert spreads[2] == pytest.approx((0.5 / 1e6) ** 0.5, rel=0.02)


def test_poisson_noise_is_clipped_at_white_if_asked() -> None:
    white = torch.ones(4, 1, 8, 8)
    noisy = Poisson()(white, draws())
    assert noisy.max() > 1
    assert torch.equal(Poisson(clip=True)(white, draws()), noisy.clamp(0, 1))


@pytest.mark.parametrize(
    ("snr", "unit", "ratio"),
    [(10.0, "db", 10.0), (3.0, "db", 1.99526), (-10.0, "db", 0.1), (2.0, "ratio", 2.0)],
)
def test_the_ratio_of_mean_squares_measured_back_is_the_one_asked_for_on_every_image(
    snr: float, unit: Any, ratio: float
) -> None:
    images = torch.rand(6, 3, 64, 64, generator=draws()) * torch.linspace(0.1, 1, 6).view(
        -1, 1, 1, 1
    )
    noise = white_noise(images, snr, unit, draws(1)) - images
    measured = images.square().mean((1, 2, 3)) / noise.square().mean((1, 2, 3))
    relative_error = (2 / images[0].numel()) ** 0.5
    assert ((measured / ratio - 1).abs() < 4 * relative_error).all()
    normalised = (noise / noise.square().mean((1, 2, 3), keepdim=True).sqrt()).double()
    assert distance_from_uniform(cumulative(gaussian, normalised)) < 1.95


def test_10_db_is_a_ratio_of_10_and_a_black_image_gets_no_noise() -> None:
    images = torch.rand(4, 1, 8, 8, generator=draws())
    images[0] = 0
    noisy = GaussianSNR(snr=10.0)(images, draws(1))
    assert torch.equal(noisy, GaussianSNR(snr=10.0, unit="ratio")(images, draws(1)))
    assert torch.equal(noisy[0], images[0])
    assert not torch.equal(noisy[1], images[1])


@pytest.mark.parametrize(
    "fields", [{"snr": 0.0, "unit": "ratio"}, {"snr": -3.0, "unit": "ratio"}, {"snr": 4000.0}]
)
def test_an_snr_that_no_noise_has_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"snr: .* \(allowed: "):
        parse(GaussianSNR, {"name": "gaussian_snr", **fields})


@pytest.mark.parametrize("peak", [0, -1.0, "255"])
def test_a_peak_without_photons_is_refused(peak: object) -> None:
    with pytest.raises(InputError, match=r"^peak: "):
        parse(Poisson, {"name": "poisson", "peak": peak})
