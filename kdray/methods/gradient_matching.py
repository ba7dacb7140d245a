"""A student whose input gradient is its teacher's: robust_student, eq. 16.

    L = L_KD + C1·L_G,   L_G = mean of ‖∇_x τ(f_S(x)) - ∇_x τ(f_T(x))‖²,   τ(f) = softmax(z/τ)_y

The squared Euclidean norm sums over pixels and channels; y is the label that is trained on. The
teacher's gradient is a constant, the student's is differentiated once more (double backward). It
estimates the denominator of theorem 1's bound.

Each gradient is taken at the image that the network sees: the student's at its noisy input, the
teacher's at the clean one. The gradient of one example is read off the gradient of the batch's sum.
That is exact where examples do not meet; batch normalisation in train mode lets them meet through
the batch's statistics, so that there an example's gradient also has what its pixels do to the other
examples' outputs.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, NamedTuple

from jaxtyping import Float, Float32
from pydantic import Field
from torch import Tensor

from kdray.core import tag_of
from kdray.methods.additive_kd import additive_kd
from kdray.methods.base import Losses, Method, TrainedTeacher, TrainingStep
from kdray.methods.gradients import input_gradient
from kdray.methods.standardization import LogitStandardization
from kdray.models import Described
from kdray.models.twice import differentiable_twice


def gradient_loss(
    first: Float32[Tensor, "B C H W"], second: Float32[Tensor, "B C H W"]
) -> Float32[Tensor, ""]:
    """L_G: ‖first - second‖², summed over pixels and channels, the mean over the batch."""
    return (first - second).square().sum((1, 2, 3)).mean()


class Matched(NamedTuple):
    """One forward pass of each network, and how far apart their input gradients are."""

    logits: Float[Tensor, "B K"]
    teacher_logits: Float[Tensor, "B K"]
    """Without a graph."""
    gradient: Float32[Tensor, ""]
    """L_G."""


def match(step: TrainingStep, temperature: float) -> Matched:
    """Runs both networks, the student on the batch's images and the teacher on the clean ones."""
    assert step.teacher is not None  # an experiment without a teacher is refused
    images, labels = step.batch.images.detach().requires_grad_(True), step.batch.labels
    with differentiable_twice(images.device):
        logits = step.student.logits(images)
    teacher_logits, target = step.teacher.with_gradient(step.batch, temperature=temperature)
    gradient = input_gradient(images, logits, labels, temperature, create_graph=True)
    return Matched(logits, teacher_logits, gradient_loss(gradient, target))


def check_has_gradient(method: Method, teacher: TrainedTeacher | None) -> None:
    """Raise ValueError unless ``method`` has a network as teacher, whose input gradient it can
    match."""
    if teacher is None:
        raise ValueError(
            f"method {tag_of(type(method))} compares input gradients, and a virtual teacher has "
            "none"
        )


class GradientMatching(LogitStandardization, Method):
    """L_KD (eq. 3) + C1·‖∇_x softmax(z_S/τ)_y - ∇_x softmax(z_T/τ)_y‖²."""

    terms: ClassVar[tuple[str, ...]] = ("cross_entropy", "soft", "gradient")
    needs_teacher: ClassVar[bool] = True
    same_operations: ClassVar[bool] = True
    differentiates_twice: ClassVar[bool] = True
    paper: ClassVar[str] = "robust_student eqs. 3, 16"

    name: Literal["gradient_matching"] = "gradient_matching"
    weight: Annotated[float, Field(ge=0)] = 4.0
    """λ of L_KD; 0: no soft targets. Chosen, as in additive_kd."""
    temperature: Annotated[float, Field(gt=0)] = 3.0
    """τ of both losses; a high one flattens both gradients as 1/τ. Chosen, as in additive_kd."""
    gradient_weight: Annotated[float, Field(ge=0)] = 1.0
    """C1; 0: L_KD alone. The paper gives none; chosen. Gradients are per unit of pixel value, black
    to white."""

    def check_fits(self, student: Described, teacher: TrainedTeacher | None) -> None:
        del student
        check_has_gradient(self, teacher)

    def losses(self, stage: str, step: TrainingStep) -> Losses:
        del stage
        logits, teacher_logits, gradient = match(step, self.temperature)
        distilled, terms = additive_kd(
            logits,
            self.compared(logits, teacher_logits),
            step.batch.labels,
            weight=self.weight,
            temperature=self.temperature,
        )
        return Losses(
            distilled + self.gradient_weight * gradient, {**terms, "gradient": gradient}, logits
        )
