"""Plain supervised training: cross-entropy with the labels, no teacher."""

from __future__ import annotations

from typing import ClassVar, Literal

from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional

from kdray.methods.base import OutputMethod


class CrossEntropy(OutputMethod):
    """CE(z, y), the mean over the batch."""

    terms: ClassVar[tuple[str, ...]] = ("cross_entropy",)
    needs_teacher: ClassVar[bool] = False
    paper: ClassVar[str] = "every paper's student and teacher without distillation"

    name: Literal["cross_entropy"] = "cross_entropy"

    def compare(
        self,
        logits: Float[Tensor, "B K"],
        labels: Int64[Tensor, "B"],
        teacher_logits: Float[Tensor, "B K"] | None,  # noqa: ARG002
    ) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
        loss = functional.cross_entropy(logits, labels)
        return loss, {"cross_entropy": loss}
