"""What a method is: frozen hyperparameters and a pure loss on one batch.

Two abstract levels and no third: :class:`Method` owns its forward passes; :class:`OutputMethod` compares the outputs of one
forward pass of the student with the labels and, if it has one, with a teacher.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import ClassVar, NamedTuple

from jaxtyping import Float, Float32, Int64
from torch import Tensor

from kdray.core import Value
from kdray.models import Classifier


class Batch(NamedTuple):
    """What one training step sees."""

    images: Float32[Tensor, "B C H W"]
    """The student's input: augmented, with input noise."""
    clean: Float32[Tensor, "B C H W"]
    """The teacher's input: the same augmented images without noise."""
    labels: Int64[Tensor, "B"]
    """The labels to train on, corrupted where the experiment says so."""


Teacher = Callable[[Float32[Tensor, "B C H W"]], Float32[Tensor, "B K"]]
"""Images in [0, 1] to logits, without a gradient."""


class Losses(NamedTuple):
    """The loss of a batch (a mean over its examples) and what it is made of."""

    total: Float[Tensor, ""]
    terms: dict[str, Float[Tensor, ""]]
    """Every term without its weight, under the names in :attr:`Method.terms`."""
    logits: Float[Tensor, "B K"]
    """The student's, for its training accuracy."""


class Method(Value):
    """A way to train a student."""

    terms: ClassVar[tuple[str, ...]]
    """Names of the loss terms; each becomes a column of the epochs."""
    needs_teacher: ClassVar[bool]
    paper: ClassVar[str]
    """Where the loss is written down."""

    @abstractmethod
    def losses(self, student: Classifier, batch: Batch, teacher: Teacher | None) -> Losses:
        """The losses of ``student`` (in train mode) on ``batch``."""


class OutputMethod(Method):
    """A method whose loss is a function of one student output, the labels and one teacher answer."""

    def losses(self, student: Classifier, batch: Batch, teacher: Teacher | None) -> Losses:
        logits = student.logits(batch.images)
        answer = None if teacher is None else teacher(batch.clean)
        total, terms = self.compare(logits, batch.labels, answer)
        return Losses(total, terms, logits)

    @abstractmethod
    def compare(
        self,
        logits: Float[Tensor, "B K"],
        labels: Int64[Tensor, "B"],
        teacher_logits: Float[Tensor, "B K"] | None,
    ) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
        """The total and its unweighted terms."""
