"""DIST, distillation from a stronger teacher (Huang, You, Wang, Qian, Xu 2022, arXiv:2205.10536,
section 3).

    L = w·CE(z_S, y) + β·inter + γ·intra,   Y = softmax(z/τ), a row for each example
    inter = mean over examples of 1 - ρ(Y_S's row, Y_T's row)
    intra = mean over classes of 1 - ρ(Y_S's column, Y_T's column)

ρ is Pearson's correlation: the student need not say what its teacher says, but the same up to scale
and shift, of the classes of one example and of the examples for one class. The relation of numbers
that are all alike, as a class's that every example has with certainty or not at all, is 0.

The paper has no factor τ²; where it is wanted, β and γ have it.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from jaxtyping import Float
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from kdray.methods.base import OutputMethod, Targets
from kdray.methods.standardization import LogitStandardization
from kdray.methods.unit import unit


def pearson(first: Float[Tensor, "N M"], second: Float[Tensor, "N M"]) -> Float[Tensor, "N"]:
    """ρ of each row of the one with that of the other; 0 where either has no variance."""
    centred = (unit(each - each.mean(1, keepdim=True), 1) for each in (first, second))
    products: Tensor = next(centred) * next(centred)
    return products.sum(1)


def relations(
    logits: Float[Tensor, "B K"], teacher_logits: Float[Tensor, "B K"], temperature: float
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """The losses inter and intra."""
    student, teacher = (
        functional.softmax(each / temperature, dim=1) for each in (logits, teacher_logits)
    )
    return 1 - pearson(student, teacher).mean(), 1 - pearson(student.T, teacher.T).mean()


class DIST(LogitStandardization, OutputMethod):
    """w·CE(z_S, y) + β·inter + γ·intra: 1 - Pearson's correlation of softmax(z_S/τ) with
    softmax(z_T/τ), over the classes of an example and over the examples for a class."""

    terms: ClassVar[tuple[str, ...]] = ("cross_entropy", "inter_class", "intra_class")
    needs_teacher: ClassVar[bool] = True
    same_operations: ClassVar[bool] = True
    takes_distributions: ClassVar[bool] = True
    paper: ClassVar[str] = "Huang et al. 2022, section 3 (arXiv:2205.10536)"

    name: Literal["dist"] = "dist"
    beta: Annotated[float, Field(ge=0)] = 1.0
    """β of the relation over the classes; 0: none of it."""
    gamma: Annotated[float, Field(ge=0)] = 1.0
    """γ of the relation over the examples, those of one batch; 0: none of it."""
    temperature: Annotated[float, Field(gt=0)] = 1.0
    """τ, which divides the logits of both networks; towards 0 only the first classes count."""
    cross_entropy_weight: Annotated[float, Field(ge=0)] = 1.0
    """w (the paper's α); 0: teacher only."""

    @property
    def softening(self) -> float:
        return self.temperature

    def compare(
        self,
        logits: Float[Tensor, "B K"],
        labels: Targets,
        teacher_logits: Float[Tensor, "B K"] | None,
    ) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
        assert teacher_logits is not None  # an experiment without a teacher is refused
        hard = functional.cross_entropy(logits, labels)
        inter, intra = relations(*self.compared(logits, teacher_logits), self.temperature)
        total = self.cross_entropy_weight * hard + self.beta * inter + self.gamma * intra
        return total, {"cross_entropy": hard, "inter_class": inter, "intra_class": intra}
