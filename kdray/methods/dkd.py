"""Decoupled knowledge distillation (Zhao, Cui, Song, Qiu, Liang 2022, arXiv:2203.08679, eqs. 1 to
7).

    L = w·CE(z_S, y) + τ²·(α·TCKD + β·NCKD)
    TCKD = KL(b_T ‖ b_S),   b = [p_y, 1 - p_y],   p = softmax(z/τ)
    NCKD = KL(p̂_T ‖ p̂_S),   p̂ = softmax of the z_i/τ with i ≠ y

Hinton's KL(p_T ‖ p_S) is TCKD + (1 - p_T,y)·NCKD (eq. 6): where the teacher is sure of the label,
what it says of the other classes hardly counts. Here it does. The factor τ² is not in eq. 7; it is
Hinton's, and in the authors' numbers.

All is computed of logarithms, log(1 - p_y) as that of the other classes' sum, so that a network
that is sure of one class gives finite numbers. With two classes NCKD is 0.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import torch
from jaxtyping import Float, Int64
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from kdray.methods.base import OutputMethod
from kdray.methods.kd import divergence
from kdray.methods.standardization import LogitStandardization


def without_label(
    logits: Float[Tensor, "B K"], labels: Int64[Tensor, "B"]
) -> Float[Tensor, "B K-1"]:
    """The logits of the other classes, in their order."""
    places = torch.arange(logits.shape[1] - 1, device=logits.device)[None]
    return logits.gather(1, places + (places >= labels[:, None]))


def label_or_not(logits: Float[Tensor, "B K"], labels: Int64[Tensor, "B"]) -> Float[Tensor, "B 2"]:
    """Logits of b = [p_y, 1 - p_y]: the label's, and the logarithm of the others' sum."""
    rest = torch.logsumexp(without_label(logits, labels), dim=1, keepdim=True)
    return torch.cat([logits.gather(1, labels[:, None]), rest], dim=1)


def decoupled(
    logits: Float[Tensor, "B K"],
    teacher_logits: Float[Tensor, "B K"],
    labels: Int64[Tensor, "B"],
    temperature: float,
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """TCKD and NCKD: the mean over the batch, not yet times τ²."""
    softened, teacher = logits / temperature, teacher_logits / temperature
    target = divergence(label_or_not(teacher, labels), label_or_not(softened, labels), 1.0)
    others = divergence(without_label(teacher, labels), without_label(softened, labels), 1.0)
    return target, others


class DKD(LogitStandardization, OutputMethod):
    """w·CE(z_S, y) + τ²·(α·TCKD + β·NCKD): KL of the label against the rest, and KL among the rest,
    each with a weight of its own."""

    terms: ClassVar[tuple[str, ...]] = ("cross_entropy", "target", "non_target")
    needs_teacher: ClassVar[bool] = True
    same_operations: ClassVar[bool] = True
    paper: ClassVar[str] = "Zhao et al. 2022, eqs. 1 to 7 (arXiv:2203.08679)"

    name: Literal["dkd"] = "dkd"
    alpha: Annotated[float, Field(ge=0)] = 1.0
    """α of TCKD, how sure to be of the label; 0: nothing of it from the teacher."""
    beta: Annotated[float, Field(ge=0)] = 8.0
    """β of NCKD, how the other classes compare; 0: nothing of it from the teacher. The paper has 1
    to 10, more for teachers that are surer (8 for ResNet-32x4 and 8x4). τ²·β multiplies the
    gradient: a network without batch norm may need a lower learning rate or schedule.warmup."""
    temperature: Annotated[float, Field(gt=0)] = 4.0
    """τ of both; towards infinity half the mean squared gaps of the centred logits."""
    cross_entropy_weight: Annotated[float, Field(ge=0)] = 1.0
    """w; 0: teacher only."""

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
        hard = functional.cross_entropy(logits, labels)
        target, non_target = decoupled(
            *self.compared(logits, teacher_logits), labels, self.temperature
        )
        soft = self.alpha * target + self.beta * non_target
        total = self.cross_entropy_weight * hard + self.temperature**2 * soft
        return total, {"cross_entropy": hard, "target": target, "non_target": non_target}
