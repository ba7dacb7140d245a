"""Everything that changes inputs, labels, weights or a teacher's logits.

A new one is a value and its pure function, in the file of its kind, and its name in a union.
"""

from typing import Annotated, Literal

from kdray.core import OpenUnion, Value
from kdray.perturbations.input_noise import (
    Gaussian,
    GaussianSNR,
    InputNoise,
    Laplace,
    Poisson,
    UniformNoise,
)
from kdray.perturbations.label_noise import (
    Asymmetric,
    LabelNoise,
    PairFlip,
    Symmetric,
    Transition,
    Uniform,
)
from kdray.perturbations.logit_noise import LogitNoise, SignalDependent, Swap
from kdray.perturbations.weight_noise import AnyWeightNoise, Coloured, Independent, WeightNoise

AnyInputNoise = Annotated[
    Gaussian | Laplace | UniformNoise | Poisson | GaussianSNR, OpenUnion(InputNoise)
]
AnyLabelNoise = Annotated[
    Uniform | Symmetric | PairFlip | Asymmetric | Transition, OpenUnion(LabelNoise)
]
AnyLogitNoise = Annotated[SignalDependent | Swap, OpenUnion(LogitNoise)]


class Noise(Value):
    """Where noise enters a training: the student's input, the labels."""

    input: AnyInputNoise | None = None
    """On the images that the student sees."""
    teacher_sees: Literal["clean", "noisy"] = "clean"
    """While it teaches: the image without ``input`` noise (Soft Randomization), or the one that the
    student sees, as if the noise were part of the training set (robust_student table I)."""
    labels: AnyLabelNoise | None = None
    """On the labels that the student is trained on."""


__all__ = [
    "AnyInputNoise",
    "AnyLabelNoise",
    "AnyLogitNoise",
    "AnyWeightNoise",
    "Asymmetric",
    "Coloured",
    "Gaussian",
    "GaussianSNR",
    "Independent",
    "InputNoise",
    "LabelNoise",
    "Laplace",
    "LogitNoise",
    "Noise",
    "PairFlip",
    "Poisson",
    "SignalDependent",
    "Swap",
    "Symmetric",
    "Transition",
    "Uniform",
    "UniformNoise",
    "WeightNoise",
]
