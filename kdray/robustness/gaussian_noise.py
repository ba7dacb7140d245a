"""Accuracy under Gaussian noise on the image, by its standard deviation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from kdray.core import Several
from kdray.models import Classifier
from kdray.perturbations.input_noise import Gaussian
from kdray.robustness.base import Block, Images, Perturbing


class GaussianNoise(Perturbing):
    """x + N(0, σ²), clipped to [0, 1]; the same draws, scaled, for every σ."""

    paper: ClassVar[str] = (
        "robust_student fig. 2 and noisy_collaboration fig. 5, by standard deviation"
    )

    name: Literal["gaussian_noise"] = "gaussian_noise"
    sigmas: Annotated[Several[Annotated[float, Field(ge=0)]], Field(min_length=1)] = (0.1, 0.2, 0.3)
    """Standard deviations, for images in [0, 1]."""
    clip: bool = True

    def strengths(self) -> list[dict[str, Any]]:
        return [{"sigma": sigma} for sigma in self.sigmas]

    def perturbed(self, classifier: Classifier, block: Block) -> Iterator[Images]:
        del classifier
        for sigma in self.sigmas:
            yield Gaussian(sigma=sigma, clip=self.clip)(block.images, self.draws(block))
