"""Introspective adversarial distillation (IAD): Zhu et al. 2022, ICLR, arXiv:2106.04928.

    L = α·[τ²·a·KL(T(x)/τ ‖ S(x')/τ) + (1 - a)·KL(S(x) ‖ S(x'))] + (1 - α)·CE(S(x), y)
    a = p_y(T(x'))^β        for each image; 1 in the epochs of the warm-up

x' = PGD on the cross-entropy: where the teacher knows the label of x' it is trusted, otherwise the
student heeds what it says itself of x. It stands on ARD, as the paper's IAD-I; α, τ are ARD's. The
gradient passes through both arguments of the second divergence, none through a.

What a weighs is not certain. The paper's abstract has the student rely on itself alone where the
teacher knows nothing, so that a weighs the teacher's term (guidance: trusted); the code that its
authors published (ZFancy/IAD, IAD-I.py) leaves that term at weight 1 (guidance: full). β 0.1 and 60
epochs of warm-up are from that code.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal

import torch
from jaxtyping import Float, Float32
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from kdray.core import Effort
from kdray.methods.attack import kl_by_image
from kdray.methods.attacked import AttackedMethod
from kdray.methods.base import Losses, TrainingStep


class IAD(AttackedMethod):
    """α·[a·KL(T(x) ‖ S(x')) + (1 - a)·KL(S(x) ‖ S(x'))] + (1 - α)·CE(S(x), y), a how sure the
    teacher is of the label of x'."""

    terms: ClassVar[tuple[str, ...]] = ("cross_entropy", "soft", "own")
    needs_teacher: ClassVar[bool] = True
    reuses_clean_pass: ClassVar[bool] = True
    paper: ClassVar[str] = "Zhu et al. 2022, ICLR, arXiv:2106.04928 (IAD-I)"

    name: Literal["iad"] = "iad"
    alpha: Annotated[float, Field(ge=0, le=1)] = 1.0
    """α, weight of the soft targets; 0: labels of clean images only."""
    temperature: Annotated[float, Field(gt=0)] = 1.0
    """τ of the teacher's term; the student's own is not softened."""
    beta: Annotated[float, Field(ge=0)] = 0.1
    """β; 0: the teacher is always trusted (ARD), the larger, the surer it has to be."""
    warmup: Annotated[int, Field(ge=0), Effort(smoke=1, memory=0)] = 60
    """Epochs at the beginning in which the teacher is always trusted."""
    guidance: Literal["trusted", "full"] = "trusted"
    """The weight of the teacher's term: a, or 1 whatever a is."""

    @property
    def asks_teacher(self) -> bool:
        return True

    def cautions(self, epochs: int) -> Iterator[str]:
        yield from super().cautions(epochs)
        if self.warmup >= epochs:
            yield (
                f"method.warmup: in {self.warmup} of {epochs} epochs the teacher is always "
                "trusted, so that this is ARD"
            )

    def losses_of(
        self,
        step: TrainingStep,
        examples: Float32[Tensor, "B C H W"] | None,
        clean: Float[Tensor, "B K"] | None = None,
    ) -> Losses:
        assert examples is not None
        assert step.teacher is not None  # an experiment without a teacher is refused
        answer = step.teacher.logits(step.batch, temperature=self.temperature)
        trust = self.trust(step, examples)
        clean = step.student.logits(step.batch.images) if clean is None else clean
        perturbed = step.student.logits(examples)
        soft = kl_by_image(answer / self.temperature, perturbed / self.temperature)
        own = kl_by_image(clean, perturbed)
        hard = functional.cross_entropy(clean, step.batch.labels)
        guided = (trust * soft).mean() if self.guidance == "trusted" else soft.mean()
        distilled = self.temperature**2 * guided + ((1 - trust) * own).mean()
        terms = {"cross_entropy": hard, "soft": soft.mean(), "own": own.mean()}
        return Losses(self.alpha * distilled + (1 - self.alpha) * hard, terms, clean)

    def trust(self, step: TrainingStep, examples: Float32[Tensor, "B C H W"]) -> Float[Tensor, "B"]:
        """a of each image."""
        labels = step.batch.labels
        if step.epoch < self.warmup:
            return torch.ones(len(labels), device=labels.device)
        assert step.teacher is not None
        answer = step.teacher(examples, labels, temperature=1.0).logits.detach()
        return answer.softmax(1).gather(1, labels[:, None])[:, 0] ** self.beta
