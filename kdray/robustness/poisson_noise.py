"""Accuracy under Poisson noise: robust_student, section V.C and table I ("P")."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from kdray.core import Several
from kdray.perturbations.input_noise import Poisson
from kdray.robustness.base import Evaluation, Measurement, Subject, accuracy


class PoissonNoise(Evaluation):
    """Poisson(x·peak)/peak, clipped to [0, 1]: photons counted at every pixel."""

    paper: ClassVar[str] = "robust_student table I, P"

    name: Literal["poisson_noise"] = "poisson_noise"
    peaks: Annotated[Several[Annotated[float, Field(gt=0)]], Field(min_length=1)] = (255.0, 64.0, 16.0)
    """Photons at white, where the standard deviation is 1/√peak; the more, the less noise. The paper gives none."""
    clip: bool = True

    def metrics(self) -> dict[str, int]:
        return {"accuracy": len(self.peaks)}

    def measure(self, subject: Subject) -> Iterator[Measurement]:
        for peak in self.peaks:
            noise = Poisson(peak=peak, clip=self.clip)
            yield accuracy(self.correct_under(subject, noise), len(subject.split.labels), peak=peak)
