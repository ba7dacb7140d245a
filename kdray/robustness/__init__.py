"""Evaluations. A new one is a file with a subclass of :class:`Evaluation`, its name in
:data:`AnyEvaluation`, and a test."""

from kdray.robustness.autoattack import AutoAttack
from kdray.robustness.base import Evaluation, Measurement, Subject, kind_of, label_of, measurements
from kdray.robustness.certified_radius import CertifiedRadius
from kdray.robustness.clean import Clean, score
from kdray.robustness.corruptions import Corruptions
from kdray.robustness.fgsm import FGSM
from kdray.robustness.gaussian_noise import GaussianNoise
from kdray.robustness.gradients import Gradients
from kdray.robustness.occlusion import Occlusion
from kdray.robustness.official_corruptions import OfficialCorruptions
from kdray.robustness.out_of_distribution import OutOfDistribution
from kdray.robustness.pgd import PGD
from kdray.robustness.poisson_noise import PoissonNoise
from kdray.robustness.prediction_bound import PredictionBound
from kdray.robustness.prediction_scores import PredictionScores
from kdray.robustness.signal_to_noise import SignalToNoise
from kdray.robustness.suite import AnyEvaluation, Monitor, columns_of
from kdray.robustness.transfer import Transfer

__all__ = [
    "FGSM",
    "PGD",
    "AnyEvaluation",
    "AutoAttack",
    "CertifiedRadius",
    "Clean",
    "Corruptions",
    "Evaluation",
    "GaussianNoise",
    "Gradients",
    "Measurement",
    "Monitor",
    "Occlusion",
    "OfficialCorruptions",
    "OutOfDistribution",
    "PoissonNoise",
    "PredictionBound",
    "PredictionScores",
    "SignalToNoise",
    "Subject",
    "Transfer",
    "columns_of",
    "kind_of",
    "label_of",
    "measurements",
    "score",
]
