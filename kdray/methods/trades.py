"""TRADES (Zhang et al. 2019, arXiv:1901.08573): accuracy on clean images, and answers that do not
change in a ball around them.

    L = CE(S(x), y) + β·KL(softmax S(x) ‖ softmax S(x'))        x' = PGD on the second term

β is the paper's 1/λ. The gradient passes through both arguments of the divergence. The attack
starts beside the image (algorithm 1), because the term has no slope at x itself.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field
from torch.nn import functional

from kdray.methods.attack import Attack, AttackedMethod, kl_by_image
from kdray.methods.base import Losses, TrainingStep


class TRADES(AttackedMethod):
    """CE(S(x), y) + β·KL(S(x) ‖ S(x')), x' where the second term is large."""

    terms: ClassVar[tuple[str, ...]] = ("cross_entropy", "robust")
    needs_teacher: ClassVar[bool] = False
    paper: ClassVar[str] = "Zhang et al. 2019, arXiv:1901.08573, algorithm 1"

    name: Literal["trades"] = "trades"
    attack: Attack = Attack(
        loss="kl_self", start="gaussian", epsilon=0.031, step_size=0.007, steps=10
    )
    beta: Annotated[float, Field(ge=0)] = 6.0
    """Weight of the divergence (the paper's 1/λ); 0: plain training, though the attack is made."""

    def losses(self, stage: str, step: TrainingStep) -> Losses:
        del stage
        images = step.batch.images
        clean = step.student.logits(images) if self.attack.shares_clean_pass else None
        adversarial = self.attack.examples(step, clean)
        clean = step.student.logits(images) if clean is None else clean
        perturbed = step.student.logits(adversarial)
        terms = {
            "cross_entropy": functional.cross_entropy(clean, step.batch.labels),
            "robust": kl_by_image(clean, perturbed).mean(),
        }
        return Losses(terms["cross_entropy"] + self.beta * terms["robust"], terms, clean)
