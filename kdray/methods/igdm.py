"""The indirect gradient distillation module (IGDM): Lee, Cho, Kim 2024, arXiv:2312.03286.

    L = L_distillation + α·KL(ΔT ‖ ΔS)        Δf = f(x + δ) - f(x - δ),   δ = x' - x

where x' is what the attack has found. Robust networks are almost linear around an image, so that Δf
is twice the product of δ and the gradient of the logits: the student's input gradient is matched
with the teacher's without a second derivative. x - δ is not clipped to [0, 1].

Read from the code published with it: the divergence is of the softmaxes of both differences, the
teacher's is a constant, α is 20 on CIFAR-100 and grows with the epochs as epoch/200.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from kdray.core import Effort, Value
from kdray.methods.attack import kl_by_image

Logits = Float[Tensor, "B K"]


def indirect_gradient(
    student: tuple[Logits, Logits], teacher: tuple[Logits, Logits]
) -> Float[Tensor, ""]:
    """KL(ΔT ‖ ΔS), the mean over the batch, of both networks' logits at x + δ and x - δ."""
    ours, theirs = (plus - minus for plus, minus in (student, teacher))
    return kl_by_image(theirs.detach(), ours).mean()


class IndirectGradient(Value):
    """IGDM: the student's answer is to change from x - δ to x + δ as the teacher's does."""

    paper: ClassVar[str] = "Lee et al. 2024, arXiv:2312.03286"

    weight: Annotated[float, Field(ge=0)] = 20.0
    """α, of the divergence beside both halves; 0: without it."""
    ramp: Annotated[int, Field(ge=0), Effort(smoke=2)] = 0
    """Epochs over which the weight grows evenly from weight/ramp to weight; 0: it is whole from
    the first."""

    def weight_in(self, epoch: int) -> float:
        """The weight in the epoch with index ``epoch``."""
        return self.weight if self.ramp == 0 else self.weight * min(1.0, (epoch + 1) / self.ramp)
