"""Accuracy under white Gaussian noise of given signal-to-noise ratios: robust_student, section V.B
and figure 2.

The noise of an image has variance mean(x²)/ratio, defined before clipping. The paper does not say
whether its ratios are in decibels; they agree at 10, and from 1 to 12 the variances are within 0.63
to 1.32 of each other.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from kdray.core import Several
from kdray.models import Classifier
from kdray.perturbations.input_noise import GaussianSNR, Unit
from kdray.robustness.base import Block, Images, Perturbing


class SignalToNoise(Perturbing):
    """x + N(0, mean(x²)/ratio), clipped to [0, 1]; the same draws, scaled, for every ratio."""

    paper: ClassVar[str] = (
        "robust_student fig. 2 (MNIST 9 to 1, CIFAR from 12 down), fig. 3 (10), table I G"
    )

    name: Literal["signal_to_noise"] = "signal_to_noise"
    ratios: Annotated[Several[float], Field(min_length=1)] = (9.0, 7.0, 5.0, 3.0, 1.0)
    """Signal-to-noise ratios; the higher, the less noise."""
    unit: Unit = "db"
    """db: ratio = 10^(value/10); ratio: the quotient of the mean squares itself."""
    clip: bool = True

    @model_validator(mode="after")
    def _are_ratios(self) -> SignalToNoise:
        for value in self.ratios:
            GaussianSNR(snr=value, unit=self.unit)
        return self

    def strengths(self) -> list[dict[str, Any]]:
        return [{"snr": snr} for snr in self.ratios]

    def perturbed(self, classifier: Classifier, block: Block) -> Iterator[Images]:
        del classifier
        for snr in self.ratios:
            yield GaussianSNR(snr=snr, unit=self.unit, clip=self.clip)(
                block.images, self.draws(block)
            )
