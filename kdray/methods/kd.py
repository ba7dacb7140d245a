"""Knowledge distillation (Hinton, Vinyals, Dean 2015, arXiv:1503.02531) as in noisy_collaboration,
eqs. 2 and 3.

    L = (1 - α)·CE(z_S, y) + α·τ²·KL

The text prints KL(softmax(z_S/τ) ‖ softmax(z_T/τ)), the student first. Hinton's loss and every
implementation have the teacher first, which is the default; the printed order is ``divergence:
student_teacher``. smoothed_models, section 1.1, has the cross-entropy of the two in the place of
KL, L = (1 - w)·CE + w·T²·CE(p_t, p_s): ``divergence: cross_entropy``, with the gradient of the
default and the teacher's entropy on top of its value.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from jaxtyping import Float
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from kdray.methods.base import OutputMethod, Targets
from kdray.methods.standardization import LogitStandardization


def divergence(
    first: Float[Tensor, "B K"], second: Float[Tensor, "B K"], temperature: float
) -> Float[Tensor, ""]:
    """KL(softmax(first/τ) ‖ softmax(second/τ)): summed over classes, the mean over the batch, not
    yet times τ²."""
    log_first = functional.log_softmax(first / temperature, dim=1)
    log_second = functional.log_softmax(second / temperature, dim=1)
    return functional.kl_div(log_second, log_first, reduction="batchmean", log_target=True)


def soft_cross_entropy(
    student_logits: Float[Tensor, "B K"], teacher_logits: Float[Tensor, "B K"], temperature: float
) -> Float[Tensor, ""]:
    """-Σ p_T·log p_S with p = softmax(z/τ): summed over classes, the mean over the batch, not yet
    times anything."""
    target = functional.softmax(teacher_logits / temperature, dim=1)
    return functional.cross_entropy(student_logits / temperature, target)


class KD(LogitStandardization, OutputMethod):
    """(1 - α)·CE(z_S, y) + α·τ²·KL(softmax(z_T/τ) ‖ softmax(z_S/τ))."""

    terms: ClassVar[tuple[str, ...]] = ("cross_entropy", "soft")
    needs_teacher: ClassVar[bool] = True
    same_operations: ClassVar[bool] = True
    takes_distributions: ClassVar[bool] = True
    paper: ClassVar[str] = (
        "noisy_collaboration eqs. 2, 3; smoothed_models section 1.1 (Hinton et al. 2015)"
    )

    name: Literal["kd"] = "kd"
    alpha: Annotated[float, Field(ge=0, le=1)] = 0.9
    """Weight of the soft targets (w in smoothed_models); 0: labels only, 1: teacher only."""
    temperature: Annotated[float, Field(gt=0)] = 4.0
    """τ; towards 0 the teacher's first class only, towards infinity half the mean squared gap of
    the centred logits."""
    divergence: Literal["teacher_student", "student_teacher", "cross_entropy"] = "teacher_student"
    """KL with the expectation over the teacher's distribution (Hinton) or over the student's (as
    eq. 3 is printed), or the cross-entropy of the student with the teacher's distribution as target
    (smoothed_models)."""

    @property
    def softening(self) -> float:
        return self.temperature

    def compare(
        self,
        logits: Float[Tensor, "B K"],
        labels: Targets,
        teacher_logits: Float[Tensor, "B K"] | None,
    ) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
        assert teacher_logits is not None  # an experiment with kd and no teacher is refused
        hard = functional.cross_entropy(logits, labels)
        soft = self._soft(*self.compared(logits, teacher_logits))
        total = (1 - self.alpha) * hard + self.alpha * self.temperature**2 * soft
        return total, {"cross_entropy": hard, "soft": soft}

    def _soft(
        self, logits: Float[Tensor, "B K"], teacher_logits: Float[Tensor, "B K"]
    ) -> Float[Tensor, ""]:
        match self.divergence:
            case "teacher_student":
                return divergence(teacher_logits, logits, self.temperature)
            case "student_teacher":
                return divergence(logits, teacher_logits, self.temperature)
            case "cross_entropy":
                return soft_cross_entropy(logits, teacher_logits, self.temperature)
