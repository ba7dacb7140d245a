"""Accuracy under Gaussian noise: the clean one at sigma 0, less at every larger sigma, from the
same draws."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from kdray.core import InputError, parse
from kdray.data import to_unit
from kdray.robustness import Clean, GaussianNoise, Subject
from kdray.robustness.base import BLOCK
from kdray.testing.samples import digits, trained_on_digits
from tests.tensors import Watched


def noise_shown(sigma: float, **fields: bool | int) -> Tensor:
    """What was added to the test images."""
    watched = Watched()
    list(
        GaussianNoise(sigmas=(sigma,), clip=False, **fields).measure(
            Subject(watched, digits().test)
        )
    )
    return torch.cat(watched.shown) - to_unit(digits().test.images)


def test_sigma_0_gives_clean_accuracy() -> None:
    (clean, *_), (noisy,) = (
        evaluation.measure(Subject(trained_on_digits(), digits().test))
        for evaluation in (Clean(), GaussianNoise(sigmas=(0.0,)))
    )
    assert noisy.correct == clean.correct


def test_accuracy_falls_with_sigma() -> None:
    values = [
        m.value
        for m in GaussianNoise(sigmas=(0.0, 0.2, 0.4, 0.8)).measure(
            Subject(trained_on_digits(), digits().test)
        )
    ]
    assert values[0] > values[1] > values[2] > values[3]


def test_every_sigma_has_its_own_number_and_they_come_in_the_order_given() -> None:
    measured = list(
        GaussianNoise(sigmas=(0.3, 0.1)).measure(Subject(trained_on_digits(), digits().test))
    )
    assert [m.sigma for m in measured] == [0.3, 0.1]
    (alone,) = GaussianNoise(sigmas=(0.1,)).measure(Subject(trained_on_digits(), digits().test))
    assert alone.correct == measured[1].correct


def test_every_sigma_scales_the_same_draws() -> None:
    torch.testing.assert_close(noise_shown(0.4), 2 * noise_shown(0.2), rtol=0, atol=1e-6)


def test_noise_has_standard_deviation_sigma_and_differs_between_blocks_and_seeds() -> None:
    noise = noise_shown(0.2)
    assert float(noise.std()) == pytest.approx(0.2, rel=0.02)
    for other in (noise[BLOCK:], noise_shown(0.2, seed=1)):
        correlation = (noise[: len(other)] * other).mean() / 0.2**2
        assert abs(correlation) < 4 / other.numel() ** 0.5


def test_noisy_images_are_clipped_unless_told_otherwise() -> None:
    watched = Watched()
    list(GaussianNoise(sigmas=(0.5,)).measure(Subject(watched, digits().test)))
    shown = torch.cat(watched.shown)
    assert (float(shown.min()), float(shown.max())) == (0, 1)
    torch.testing.assert_close(
        shown, (to_unit(digits().test.images) + noise_shown(0.5)).clamp(0, 1), rtol=0, atol=1e-6
    )


@pytest.mark.parametrize("sigmas", [[], [-0.1], [0.1, "0.2"], 0.1])
def test_sigmas_that_are_no_list_of_standard_deviations_are_refused(sigmas: object) -> None:
    with pytest.raises(InputError, match=r"^sigmas(\[\d\])?: "):
        parse(GaussianNoise, {"name": "gaussian_noise", "sigmas": sigmas})
