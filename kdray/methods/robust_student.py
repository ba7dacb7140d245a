"""Robust student network learning: robust_student, eq. 17.

    L = L_KD + C1·L_G + C2·L_S

with L_KD of eq. 3 (``additive_kd``), the input gradients' L_G of eq. 16 (``gradient_matching``) and
the margin's L_S of eq. 15 (``margin``). L_S raises the numerator of theorem 1's bound, L_G lowers
its denominator.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from kdray.methods.additive_kd import additive_kd
from kdray.methods.base import Losses, Method, TrainedTeacher, TrainingStep
from kdray.methods.gradient_matching import check_has_gradient, match
from kdray.methods.margin import margin_loss
from kdray.methods.standardization import LogitStandardization
from kdray.models import Described


class RobustStudent(LogitStandardization, Method):
    """L_KD (eq. 3) + C1·L_G (eq. 16) + C2·L_S (eq. 15), from one forward pass of each network."""

    terms: ClassVar[tuple[str, ...]] = ("cross_entropy", "soft", "gradient", "margin")
    needs_teacher: ClassVar[bool] = True
    same_operations: ClassVar[bool] = True
    differentiates_twice: ClassVar[bool] = True
    paper: ClassVar[str] = "robust_student eq. 17"

    name: Literal["robust_student"] = "robust_student"
    weight: Annotated[float, Field(ge=0)] = 4.0
    """λ of L_KD; 0: no soft targets. Chosen, as in additive_kd."""
    temperature: Annotated[float, Field(gt=0)] = 3.0
    """τ of L_KD and L_G; the margin is not softened. Chosen, as in additive_kd."""
    gradient_weight: Annotated[float, Field(ge=0)] = 1.0
    """C1; 0: no L_G, as in margin. Chosen, as in gradient_matching."""
    margin: Annotated[float, Field(gt=0)] = 0.1
    """γ; towards 0 the student shall be as sure as the teacher, above 1 it is never sure enough.
    Chosen, as in margin."""
    margin_weight: Annotated[float, Field(ge=0)] = 1.0
    """C2; 0: no L_S, as in gradient_matching. Chosen, as in margin."""

    def check_fits(self, student: Described, teacher: TrainedTeacher | None) -> None:
        del student
        check_has_gradient(self, teacher)

    def losses(self, stage: str, step: TrainingStep) -> Losses:
        del stage
        logits, teacher_logits, gradient = match(step, self.temperature)
        labels = step.batch.labels
        distilled, terms = additive_kd(
            logits,
            self.compared(logits, teacher_logits),
            labels,
            weight=self.weight,
            temperature=self.temperature,
        )
        margin = margin_loss(logits, teacher_logits, labels, self.margin)
        total = distilled + self.gradient_weight * gradient + self.margin_weight * margin
        return Losses(total, {**terms, "gradient": gradient, "margin": margin}, logits)
