"""Accuracy under Poisson noise: robust_student, section V.C and table I ("P")."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from kdray.core import Several
from kdray.models import Classifier
from kdray.perturbations.input_noise import Poisson
from kdray.robustness.base import Block, Images, Perturbing


class PoissonNoise(Perturbing):
    """Poisson(x·peak)/peak, clipped to [0, 1]: photons counted at every pixel."""

    paper: ClassVar[str] = "robust_student table I, P"

    name: Literal["poisson_noise"] = "poisson_noise"
    peaks: Annotated[Several[Annotated[float, Field(gt=0)]], Field(min_length=1)] = (
        255.0,
        64.0,
        16.0,
    )
    """Photons at white, where the standard deviation is 1/√peak; the more, the less noise. The
    paper gives none."""
    clip: bool = True

    def strengths(self) -> list[dict[str, Any]]:
        return [{"peak": peak} for peak in self.peaks]

    def perturbed(self, classifier: Classifier, block: Block) -> Iterator[Images]:
        del classifier
        for peak in self.peaks:
            yield Poisson(peak=peak, clip=self.clip)(block.images, self.draws(block))
