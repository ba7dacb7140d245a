"""Regression of the student's outputs onto the teacher's: robust_student, eq. 2 (Ba and Caruana
2014).

    L = H(o_S, y) + λ/2·‖o_S - o_T‖²,   o = softmax(a)

As printed the outputs are probabilities; Ba and Caruana, whom the paper cites for it, regress the
logits a themselves.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from jaxtyping import Float
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from kdray.methods.base import OutputMethod, Targets, TrainedTeacher
from kdray.models import Described


def half_squared_distance(
    first: Float[Tensor, "B K"], second: Float[Tensor, "B K"]
) -> Float[Tensor, ""]:
    """½·‖first - second‖²: summed over classes, the mean over the batch."""
    return (first - second).square().sum(1).mean() / 2


class OutputRegression(OutputMethod):
    """CE(z_S, y) + λ·½·‖o_S - o_T‖²."""

    terms: ClassVar[tuple[str, ...]] = ("cross_entropy", "regression")
    needs_teacher: ClassVar[bool] = True
    same_operations: ClassVar[bool] = True
    takes_distributions: ClassVar[bool] = True
    paper: ClassVar[str] = "robust_student eq. 2 (Ba, Caruana 2014)"

    name: Literal["output_regression"] = "output_regression"
    weight: Annotated[float, Field(ge=0)] = 1.0
    """λ; 0: labels only. The paper gives none; chosen."""
    on: Literal["probabilities", "logits"] = "probabilities"
    """The outputs o: softmax(z) (as printed; the term is at most 1), or z itself (Ba and
    Caruana)."""

    def check_fits(self, student: Described, teacher: TrainedTeacher | None) -> None:
        del student
        if self.on == "logits" and teacher is None:
            raise ValueError(
                "method.on: logits: a virtual teacher's numbers stand in the place of logits "
                "but are probabilities"
            )
        smoothing = None if teacher is None else teacher.smoothing
        if self.on == "logits" and smoothing is not None and smoothing.aggregate == "prediction":
            raise ValueError(
                "method.on: logits: a class without a vote has the logarithm of 0 (allowed with "
                "supervision.smoothing.aggregate: prediction: probabilities)"
            )

    def compare(
        self,
        logits: Float[Tensor, "B K"],
        labels: Targets,
        teacher_logits: Float[Tensor, "B K"] | None,
    ) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
        assert teacher_logits is not None  # an experiment without a teacher is refused
        hard = functional.cross_entropy(logits, labels)
        pair = (logits, teacher_logits)
        if self.on == "probabilities":
            pair = (functional.softmax(logits, dim=1), functional.softmax(teacher_logits, dim=1))
        regression = half_squared_distance(*pair)
        return hard + self.weight * regression, {"cross_entropy": hard, "regression": regression}
