"""Evaluations. A new one is a file with a subclass of :class:`Evaluation`, its name in :data:`AnyEvaluation`, and a test."""

from typing import Annotated

from pydantic import Field

from kdray.robustness.base import Evaluation, Measurement
from kdray.robustness.clean import Clean, score
from kdray.robustness.gaussian_noise import GaussianNoise
from kdray.robustness.pgd import PGD

AnyEvaluation = Annotated[Clean | GaussianNoise | PGD, Field(discriminator="name")]

__all__ = ["PGD", "AnyEvaluation", "Clean", "Evaluation", "GaussianNoise", "Measurement", "score"]
