"""Noise on every value by itself: Gaussian, shot, impulse and speckle noise.

Hendrycks & Dietterich 2019, section 3; constants for 32 x 32 from ``make_cifar_c.py`` of
hendrycks/robustness (commit 8190fe3). They are strengths, not lengths, and so are the same at every
size.
"""

from __future__ import annotations

import torch

from kdray.perturbations.corruptions.operators import Images, normal, uniform

GAUSSIAN_SIGMA = (0.04, 0.06, 0.08, 0.09, 0.10)
SHOT_PEAK = (500, 250, 100, 75, 50)
"""Mean number of photons at white."""
IMPULSE_SHARE = (0.01, 0.02, 0.03, 0.05, 0.07)
SPECKLE_SIGMA = (0.06, 0.10, 0.12, 0.16, 0.20)


def gaussian_noise(images: Images, severity: int, draws: torch.Generator) -> Images:
    """x + σ·N(0, 1)."""
    return images + GAUSSIAN_SIGMA[severity - 1] * normal(
        *images.shape, draws=draws, device=images.device
    )


def shot_noise(images: Images, severity: int, draws: torch.Generator) -> Images:
    """Poisson(peak·x) / peak."""
    peak = SHOT_PEAK[severity - 1]
    return torch.poisson((peak * images).to(draws.device), generator=draws).to(images.device) / peak


def impulse_noise(images: Images, severity: int, draws: torch.Generator) -> Images:
    """A share of the values, in each channel by itself, becomes 0 or 1, either as likely ("salt and
    pepper")."""
    share = IMPULSE_SHARE[severity - 1]
    drawn = uniform(0.0, 1.0, *images.shape, draws=draws, device=images.device)
    return images.masked_fill(drawn < share / 2, 0).masked_fill_(drawn > 1 - share / 2, 1)


def speckle_noise(images: Images, severity: int, draws: torch.Generator) -> Images:
    """x + x·σ·N(0, 1)."""
    noise = normal(*images.shape, draws=draws, device=images.device)
    return images + SPECKLE_SIGMA[severity - 1] * images * noise
