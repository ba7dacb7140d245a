"""Accuracy under Gaussian noise on the image, by its standard deviation."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from kdray.core import Several
from kdray.perturbations.input_noise import Gaussian
from kdray.robustness.base import Perturbing, Variant


class GaussianNoise(Perturbing):
    """x + N(0, σ²), clipped to [0, 1]; the same draws, scaled, for every σ."""

    paper: ClassVar[str] = "robust_student fig. 2 and noisy_collaboration fig. 5, by standard deviation"

    name: Literal["gaussian_noise"] = "gaussian_noise"
    sigmas: Annotated[Several[Annotated[float, Field(ge=0)]], Field(min_length=1)] = (0.1, 0.2, 0.3)
    """Standard deviations, for images in [0, 1]."""
    clip: bool = True

    def variants(self) -> list[Variant]:
        return [self.drawn(Gaussian(sigma=sigma, clip=self.clip), sigma=sigma) for sigma in self.sigmas]
