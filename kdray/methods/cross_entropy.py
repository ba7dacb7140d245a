"""Plain supervised training: cross-entropy with the labels, no teacher.

Label smoothing (Szegedy et al. 2016, arXiv:1512.00567, section 7) is part of it:

    L = (1 - ε)·CE(z, y) + ε·mean over classes k of CE(z, k)
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from jaxtyping import Float
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from kdray.methods.base import OutputMethod, Targets


class CrossEntropy(OutputMethod):
    """CE(z, y), the mean over the batch; with ε the label has 1 - ε + ε/K and every other class
    ε/K."""

    terms: ClassVar[tuple[str, ...]] = ("cross_entropy",)
    needs_teacher: ClassVar[bool] = False
    same_operations: ClassVar[bool] = True
    takes_distributions: ClassVar[bool] = True
    paper: ClassVar[str] = "every paper's student and teacher without distillation"

    name: Literal["cross_entropy"] = "cross_entropy"
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """ε (Szegedy et al. 2016); 0: the label alone."""

    def compare(
        self,
        logits: Float[Tensor, "B K"],
        labels: Targets,
        teacher_logits: Float[Tensor, "B K"] | None,  # noqa: ARG002
    ) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
        loss = functional.cross_entropy(logits, labels, label_smoothing=self.label_smoothing)
        return loss, {"cross_entropy": loss}
