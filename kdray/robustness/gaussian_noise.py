"""Accuracy under Gaussian noise on the image, by its standard deviation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from kdray.core import Several
from kdray.perturbations.input_noise import Gaussian
from kdray.robustness.base import Evaluation, Measurement, Subject, accuracy


class GaussianNoise(Evaluation):
    """x + N(0, σ²), clipped to [0, 1]; the same draws, scaled, for every σ."""

    paper: ClassVar[str] = "robust_student fig. 2 and noisy_collaboration fig. 5, by standard deviation"

    name: Literal["gaussian_noise"] = "gaussian_noise"
    sigmas: Annotated[Several[Annotated[float, Field(ge=0)]], Field(min_length=1)] = (0.1, 0.2, 0.3)
    """Standard deviations, for images in [0, 1]."""
    clip: bool = True

    def metrics(self) -> dict[str, int]:
        return {"accuracy": len(self.sigmas)}

    def measure(self, subject: Subject) -> Iterator[Measurement]:
        for sigma in self.sigmas:
            noise = Gaussian(sigma=sigma, clip=self.clip)
            yield accuracy(self.correct_under(subject, noise), len(subject.split.labels), sigma=sigma)
