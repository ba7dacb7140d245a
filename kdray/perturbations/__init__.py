"""Everything that changes inputs or labels. A new one is a file with a value and its pure function, and its name in a union."""

from kdray.core import Value
from kdray.perturbations.input_noise import Gaussian, InputNoise
from kdray.perturbations.label_noise import LabelNoise, Uniform

# A discriminated union needs two members; until there are, the one member validates its own ``name``.
AnyInputNoise = Gaussian
AnyLabelNoise = Uniform


class Noise(Value):
    """Where noise enters a training: the student's input, the labels."""

    input: AnyInputNoise | None = None
    """On the images that the student sees; the teacher sees the clean ones."""
    labels: AnyLabelNoise | None = None
    """On the labels that the student is trained on."""


__all__ = ["AnyInputNoise", "AnyLabelNoise", "Gaussian", "InputNoise", "LabelNoise", "Noise", "Uniform"]
