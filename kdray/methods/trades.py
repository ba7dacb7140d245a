"""TRADES (Zhang et al. 2019, arXiv:1901.08573): accuracy on clean images, and answers that do not
change in a ball around them.

    L = CE(S(x), y) + β·KL(softmax S(x) ‖ softmax S(x'))        x' = PGD on the second term

β is the paper's 1/λ. The gradient passes through both arguments of the divergence. The attack
starts beside the image (algorithm 1), because the term has no slope at x itself.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from jaxtyping import Float, Float32
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from kdray.methods.attack import Attack, kl_by_image
from kdray.methods.attacked import AttackedMethod
from kdray.methods.base import Losses, TrainingStep


class TRADES(AttackedMethod):
    """CE(S(x), y) + β·KL(S(x) ‖ S(x')), x' where the second term is large."""

    terms: ClassVar[tuple[str, ...]] = ("cross_entropy", "robust")
    needs_teacher: ClassVar[bool] = False
    same_operations: ClassVar[bool] = True
    reuses_clean_pass: ClassVar[bool] = True
    paper: ClassVar[str] = "Zhang et al. 2019, arXiv:1901.08573, algorithm 1"

    name: Literal["trades"] = "trades"
    attack: Attack = Attack(
        loss="kl_self", start="gaussian", epsilon=0.031, step_size=0.007, steps=10
    )
    beta: Annotated[float, Field(ge=0)] = 6.0
    """Weight of the divergence (the paper's 1/λ); 0: plain training, though the attack is made."""

    def losses_of(
        self,
        step: TrainingStep,
        examples: Float32[Tensor, "B C H W"] | None,
        clean: Float[Tensor, "B K"] | None = None,
    ) -> Losses:
        assert examples is not None
        clean = step.student.logits(step.batch.images) if clean is None else clean
        perturbed = step.student.logits(examples)
        terms = {
            "cross_entropy": functional.cross_entropy(clean, step.batch.labels),
            "robust": kl_by_image(clean, perturbed).mean(),
        }
        return Losses(terms["cross_entropy"] + self.beta * terms["robust"], terms, clean)
