"""Knowledge distillation (Hinton, Vinyals, Dean 2015, arXiv:1503.02531) as in noisy_collaboration, eqs. 2 and 3.

    L = (1 - α)·CE(z_S, y) + α·τ²·KL

The text prints KL(softmax(z_S/τ) ‖ softmax(z_T/τ)), the student first. Hinton's loss and every implementation have the
teacher first, which is the default; the printed order is ``divergence: student_teacher``.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from jaxtyping import Float, Int64
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from kdray.methods.base import OutputMethod


def divergence(first: Float[Tensor, "B K"], second: Float[Tensor, "B K"], temperature: float) -> Float[Tensor, ""]:
    """KL(softmax(first/τ) ‖ softmax(second/τ)): summed over classes, the mean over the batch, not yet times τ²."""
    log_first = functional.log_softmax(first / temperature, dim=1)
    log_second = functional.log_softmax(second / temperature, dim=1)
    return functional.kl_div(log_second, log_first, reduction="batchmean", log_target=True)


class KD(OutputMethod):
    """(1 - α)·CE(z_S, y) + α·τ²·KL(softmax(z_T/τ) ‖ softmax(z_S/τ))."""

    terms: ClassVar[tuple[str, ...]] = ("cross_entropy", "kl")
    needs_teacher: ClassVar[bool] = True
    paper: ClassVar[str] = "noisy_collaboration eqs. 2, 3 (Hinton et al. 2015)"

    name: Literal["kd"] = "kd"
    alpha: Annotated[float, Field(ge=0, le=1)] = 0.9
    """Weight of the soft targets; 0: labels only, 1: teacher only."""
    temperature: Annotated[float, Field(gt=0)] = 4.0
    """τ; towards 0 the teacher's first class only, towards infinity half the mean squared gap of the centred logits."""
    divergence: Literal["teacher_student", "student_teacher"] = "teacher_student"
    """Which distribution the expectation is taken over: the teacher's (Hinton) or the student's (as eq. 3 is printed)."""

    def compare(
        self,
        logits: Float[Tensor, "B K"],
        labels: Int64[Tensor, "B"],
        teacher_logits: Float[Tensor, "B K"] | None,
    ) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
        assert teacher_logits is not None  # an experiment with kd and no teacher is refused
        pair = (teacher_logits, logits) if self.divergence == "teacher_student" else (logits, teacher_logits)
        hard = functional.cross_entropy(logits, labels)
        soft = divergence(*pair, self.temperature)
        total = (1 - self.alpha) * hard + self.alpha * self.temperature**2 * soft
        return total, {"cross_entropy": hard, "kl": soft}
