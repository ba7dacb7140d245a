"""Accuracy under Poisson noise: robust_student, section V.C and table I ("P")."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from kdray.core import Several
from kdray.perturbations.input_noise import Poisson
from kdray.robustness.base import Perturbing, Variant


class PoissonNoise(Perturbing):
    """Poisson(x·peak)/peak, clipped to [0, 1]: photons counted at every pixel."""

    paper: ClassVar[str] = "robust_student table I, P"

    name: Literal["poisson_noise"] = "poisson_noise"
    peaks: Annotated[Several[Annotated[float, Field(gt=0)]], Field(min_length=1)] = (255.0, 64.0, 16.0)
    """Photons at white, where the standard deviation is 1/√peak; the more, the less noise. The paper gives none."""
    clip: bool = True

    def variants(self) -> list[Variant]:
        return [self.drawn(Poisson(peak=peak, clip=self.clip), peak=peak) for peak in self.peaks]
