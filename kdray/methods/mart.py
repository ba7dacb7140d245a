"""MART (Wang et al. 2020, ICLR, "Improving adversarial robustness requires revisiting misclassified
examples"): the divergence of TRADES, weighed by how unsure the student is of the clean image.

    L = BCE(S(x'), y) + λ·KL(p(x) ‖ p(x'))·(1 - p_y(x))        p = softmax S
    BCE(S(x'), y) = -log p_y(x') - log(1 - max_{k≠y} p_k(x'))

and x' = PGD on the cross-entropy. All means over the batch. The gradient passes through every p.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import torch
from jaxtyping import Float, Float32, Int64
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from kdray.methods.attack import Attack, kl_by_image
from kdray.methods.attacked import AttackedMethod
from kdray.methods.base import Losses, TrainingStep


def boosted_cross_entropy(
    logits: Float[Tensor, "B K"], labels: Int64[Tensor, "B"]
) -> Float[Tensor, ""]:
    """-log p_y - log(1 - max_{k≠y} p_k), the mean over the batch.

    1 - p_k is the sum of the others, whose logarithm is finite at any logits.
    """
    of_label = functional.one_hot(labels, logits.shape[1]).bool()
    rival = logits.masked_fill(of_label, -torch.inf).argmax(1)
    rest = logits.masked_fill(functional.one_hot(rival, logits.shape[1]).bool(), -torch.inf)
    log_of_rest = rest.logsumexp(1) - logits.logsumexp(1)
    return functional.cross_entropy(logits, labels) - log_of_rest.mean()


class MART(AttackedMethod):
    """BCE(S(x'), y) + λ·KL(S(x) ‖ S(x'))·(1 - p_y(x))."""

    terms: ClassVar[tuple[str, ...]] = ("boosted_cross_entropy", "robust")
    needs_teacher: ClassVar[bool] = False
    same_operations: ClassVar[bool] = True
    paper: ClassVar[str] = "Wang et al. 2020, ICLR (openreview rklOg6EFwS), section 3"

    name: Literal["mart"] = "mart"
    attack: Attack = Attack(start="gaussian", epsilon=8 / 255, step_size=2 / 255, steps=10)
    weight: Annotated[float, Field(ge=0)] = 5.0
    """λ, the weight of the divergence."""

    def losses_of(
        self,
        step: TrainingStep,
        examples: Float32[Tensor, "B C H W"] | None,
        clean: Float[Tensor, "B K"] | None = None,
    ) -> Losses:
        assert examples is not None
        labels = step.batch.labels
        clean = step.student.logits(step.batch.images) if clean is None else clean
        perturbed = step.student.logits(examples)
        doubt = 1 - clean.softmax(1).gather(1, labels[:, None])[:, 0]
        terms = {
            "boosted_cross_entropy": boosted_cross_entropy(perturbed, labels),
            "robust": (kl_by_image(clean, perturbed) * doubt).mean(),
        }
        return Losses(terms["boosted_cross_entropy"] + self.weight * terms["robust"], terms, clean)
