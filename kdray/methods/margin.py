"""The margin by which a student shall be surer of the label than its teacher: robust_student, eq.
15.

    L = L_KD + C2·L_S,   L_S = mean of max(0, γ + f_T - f_S),   f = softmax(z)_y

f is not softened. Where the teacher's f_T is above 1 - γ the loss cannot vanish. f_S - f_T is the
numerator of the bound of theorem 1.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from jaxtyping import Float, Int64
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from kdray.methods.additive_kd import additive_kd
from kdray.methods.base import OutputMethod
from kdray.methods.gradients import true_class_probability
from kdray.methods.standardization import LogitStandardization


def margin_loss(
    logits: Float[Tensor, "B K"],
    teacher_logits: Float[Tensor, "B K"],
    labels: Int64[Tensor, "B"],
    margin: float,
) -> Float[Tensor, ""]:
    """L_S: the mean of max(0, γ + f_T - f_S)."""
    gap = true_class_probability(teacher_logits, labels) - true_class_probability(logits, labels)
    return functional.relu(margin + gap).mean()


class Margin(LogitStandardization, OutputMethod):
    """L_KD (eq. 3) + C2·max(0, γ + f_T - f_S)."""

    terms: ClassVar[tuple[str, ...]] = ("cross_entropy", "soft", "margin")
    needs_teacher: ClassVar[bool] = True
    same_operations: ClassVar[bool] = True
    paper: ClassVar[str] = "robust_student eqs. 3, 15"

    name: Literal["margin"] = "margin"
    weight: Annotated[float, Field(ge=0)] = 4.0
    """λ of L_KD; 0: no soft targets. Chosen, as in additive_kd."""
    temperature: Annotated[float, Field(gt=0)] = 3.0
    """τ of L_KD; the margin is not softened. Chosen, as in additive_kd."""
    margin: Annotated[float, Field(gt=0)] = 0.1
    """γ; towards 0 the student shall be as sure as the teacher, above 1 it is never sure enough.
    The paper gives none; chosen."""
    margin_weight: Annotated[float, Field(ge=0)] = 1.0
    """C2; 0: L_KD alone. The paper gives none; chosen."""

    @property
    def softening(self) -> float:
        return self.temperature

    def compare(
        self,
        logits: Float[Tensor, "B K"],
        labels: Int64[Tensor, "B"],
        teacher_logits: Float[Tensor, "B K"] | None,
    ) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
        assert teacher_logits is not None  # an experiment without a teacher is refused
        distilled, terms = additive_kd(
            logits,
            self.compared(logits, teacher_logits),
            labels,
            weight=self.weight,
            temperature=self.temperature,
        )
        margin = margin_loss(logits, teacher_logits, labels, self.margin)
        return distilled + self.margin_weight * margin, {**terms, "margin": margin}
