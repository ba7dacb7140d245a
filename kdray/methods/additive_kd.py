"""Knowledge distillation as robust_student writes it (eqs. 3 and 4), which is FitNets' (Romero et
al. 2015) as well.

    L_KD = H(o_S, y) + λ·H(τ(o_S), τ(o_T)),   τ(o) = softmax(a/τ)

H(prediction, target) is the cross-entropy. The teacher's term is added: there is no 1 - λ and no
τ², so that its gradient shrinks with τ² unless λ grows.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from jaxtyping import Float
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from kdray.methods.base import OutputMethod, Targets
from kdray.methods.kd import soft_cross_entropy
from kdray.methods.standardization import LogitStandardization


def additive_kd(
    logits: Float[Tensor, "B K"],
    compared: tuple[Float[Tensor, "B K"], Float[Tensor, "B K"]],
    labels: Targets,
    *,
    weight: float,
    temperature: float,
) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
    """L_KD and its two terms, these without λ; ``compared``: the student's logits and the teacher's
    as they are or standardized."""
    hard = functional.cross_entropy(logits, labels)
    soft = soft_cross_entropy(*compared, temperature)
    return hard + weight * soft, {"cross_entropy": hard, "soft": soft}


class AdditiveKD(LogitStandardization, OutputMethod):
    """L_KD = CE(z_S, y) + λ·CE(softmax(z_T/τ), softmax(z_S/τ)), the teacher's distribution the
    target."""

    terms: ClassVar[tuple[str, ...]] = ("cross_entropy", "soft")
    needs_teacher: ClassVar[bool] = True
    same_operations: ClassVar[bool] = True
    takes_distributions: ClassVar[bool] = True
    paper: ClassVar[str] = "robust_student eqs. 3, 4 (Hinton et al. 2015)"

    name: Literal["additive_kd"] = "additive_kd"
    weight: Annotated[float, Field(ge=0)] = 4.0
    """λ; 0: labels only. The paper gives none; chosen: where FitNets' λ starts (it falls to 1)."""
    temperature: Annotated[float, Field(gt=0)] = 3.0
    """τ; towards 0 the teacher's first class only, towards infinity its gradient vanishes. Chosen:
    FitNets' 3."""

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
        return additive_kd(
            logits,
            self.compared(logits, teacher_logits),
            labels,
            weight=self.weight,
            temperature=self.temperature,
        )
