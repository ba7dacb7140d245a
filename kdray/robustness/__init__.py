"""Evaluations. A new one is a file with a subclass of :class:`Evaluation`, its name in :data:`AnyEvaluation`, and a test."""

from kdray.robustness.base import Evaluation, Measurement, Subject, kind_of, label_of, measurements
from kdray.robustness.clean import Clean, score
from kdray.robustness.gaussian_noise import GaussianNoise
from kdray.robustness.gradients import Gradients
from kdray.robustness.pgd import PGD
from kdray.robustness.prediction_bound import PredictionBound
from kdray.robustness.suite import AnyEvaluation, Monitor, columns_of

__all__ = [
    "PGD", "AnyEvaluation", "Clean", "Evaluation", "GaussianNoise", "Gradients", "Measurement", "Monitor",
    "PredictionBound", "Subject", "columns_of", "kind_of", "label_of", "measurements", "score",
]  # fmt: skip
