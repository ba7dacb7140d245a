"""Methods whose loss is of examples that an attack on the student has made, with or without
adversarial weight perturbation."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import ClassVar

from jaxtyping import Float, Float32
from torch import Tensor

from kdray.methods.attack import Attack, crafting
from kdray.methods.base import Losses, Method, TrainedTeacher, TrainingStep
from kdray.methods.weight_perturbation import WeightPerturbation
from kdray.models import Described


class AttackedMethod(Method):
    """A method whose loss is of examples that an attack on the student has made."""

    reuses_clean_pass: ClassVar[bool] = False
    """Whether its loss takes the logits that :attr:`Attack.shares_clean_pass`."""

    attack: Attack = Attack()
    weight_perturbation: WeightPerturbation | None = None
    """Weights are trained where the loss is worst near them (AWP); none: where they are. A further
    forward and backward pass of what the loss needs."""

    @property
    def asks_teacher(self) -> bool:
        return self.attack.asks_teacher

    @property
    def is_replayable(self) -> bool:
        return (
            super().is_replayable
            and self.attack.loss != "kl_teacher"
            and self.weight_perturbation is None
        )

    @property
    def is_attacked(self) -> bool:
        """Whether its loss has examples in it."""
        return True

    def check_fits(self, student: Described, teacher: TrainedTeacher | None) -> None:
        del teacher
        self.attack.check_fits(student)

    def cautions(self, epochs: int) -> Iterator[str]:
        if self.is_attacked and self.attack.epsilon == 0:
            yield "method.attack.epsilon: 0 leaves images as they are, so that nothing is attacked"
        perturbation = self.weight_perturbation
        if perturbation is not None and perturbation.gamma > 0 and perturbation.warmup >= epochs:
            yield (
                f"method.weight_perturbation.warmup: {perturbation.warmup} of {epochs} epochs are "
                "without it, so that no weight is perturbed"
            )

    def losses(self, stage: str, step: TrainingStep) -> Losses:
        del stage
        perturbation, clean = self.weight_perturbation, None
        if perturbation is not None and perturbation.is_due(step.epoch):
            examples = self.attack.examples(step) if self.is_attacked else None
            with crafting(step.student, "batch"):
                total = self.losses_of(step, examples).total
            student = perturbation.perturbed(step.student, total)
            return self.losses_of(step._replace(student=student), examples)
        if self.reuses_clean_pass and self.attack.shares_clean_pass:
            clean = step.student.logits(step.batch.images)
        examples = self.attack.examples(step, clean) if self.is_attacked else None
        return self.losses_of(step, examples, clean)

    @abstractmethod
    def losses_of(
        self,
        step: TrainingStep,
        examples: Float32[Tensor, "B C H W"] | None,
        clean: Float[Tensor, "B K"] | None = None,
    ) -> Losses:
        """The losses of a student that was attacked by ``examples`` (none: it was not); ``clean``:
        its logits of the batch's images, where they are there already."""
