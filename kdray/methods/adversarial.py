"""Adversarial training, with or without a teacher: every batch clean and perturbed.

smoothed_models section 2.2 (after Nemcovsky et al. 2020; Madry et al. 2017) and the adversarial
versions of current_understanding table 5:

    L = (1 - mix)·L_clean(S(x), y, T(x)) + mix·L_perturbed(S(x'), y, T(x'))        x' = PGD(S, x, y)

Each half is any loss of outputs with hyperparameters of its own: smoothed_models weighs the teacher
by 0.75 on clean and 0.25 on perturbed images. Whether the teacher sees x' or x in the second half,
the text does not say.

Methods of robust distillation that are settings of it, each half ``kd`` with α = 1 unless said:

    ARD     (Goldblum et al. 2020, arXiv:1905.09747)  clean: cross_entropy, mix: their α,
            perturbed.temperature: their t, teacher_sees: clean, attack.loss: cross_entropy
    RSLAD   (Zi et al. 2021, arXiv:2108.07969)        mix: 5/6, both temperatures: 1,
            teacher_sees: clean, attack.loss: kl_teacher_clean
    AdaAD   (Huang et al. 2023, CVPR)                 mix: their α (1), both temperatures: 1,
            teacher_sees: perturbed, attack.loss: kl_teacher
    IGDM    (Lee et al. 2024, arXiv:2312.03286)       indirect_gradient beside any of them
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal

from jaxtyping import Float, Float32
from pydantic import Field
from torch import Tensor

from kdray.core import OpenUnion, value_types
from kdray.methods.additive_kd import AdditiveKD
from kdray.methods.attack import Attack
from kdray.methods.attacked import AttackedMethod
from kdray.methods.base import Losses, Method, OutputMethod, TrainedTeacher, TrainingStep
from kdray.methods.cross_entropy import CrossEntropy
from kdray.methods.dist import DIST
from kdray.methods.dkd import DKD
from kdray.methods.igdm import IndirectGradient, indirect_gradient
from kdray.methods.kd import KD
from kdray.methods.margin import Margin
from kdray.methods.output_regression import OutputRegression
from kdray.models import Described

AnyOutputMethod = Annotated[
    CrossEntropy | KD | AdditiveKD | OutputRegression | Margin | DKD | DIST, OpenUnion(OutputMethod)
]


class Adversarial(AttackedMethod):
    """(1 - mix)·clean + mix·perturbed."""

    needs_teacher: ClassVar[bool] = False
    """What its two losses need."""
    same_operations: ClassVar[bool] = True
    paper: ClassVar[str] = (
        "smoothed_models section 2.2; current_understanding table 5 (Madry et al. 2017)"
    )

    name: Literal["adversarial"] = "adversarial"
    attack: Attack = Attack()
    mix: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Weight of the perturbed half; 0: clean images only, 1: perturbed images only (the other half
    is then not computed)."""
    clean: AnyOutputMethod = CrossEntropy()
    perturbed: AnyOutputMethod = CrossEntropy()
    teacher_sees: Literal["perturbed", "clean"] = "perturbed"
    """What the teacher is shown in the perturbed half."""
    indirect_gradient: IndirectGradient | None = None
    """Match the teacher's input gradient through its answers on both sides of the image (IGDM);
    none: without it."""

    @classmethod
    def term_names(cls) -> tuple[str, ...]:
        """Those of every loss that a half may be, under the half's name."""
        methods = [kind for kind in value_types(AnyOutputMethod) if issubclass(kind, Method)]
        terms = dict.fromkeys(term for kind in methods for term in kind.term_names())
        of_halves = (f"{half}_{term}" for half in ("clean", "perturbed") for term in terms)
        return (*of_halves, "indirect_gradient")

    @property
    def asks_teacher(self) -> bool:
        """Of the halves that count, and of the attack."""
        return (self.mix < 1 and self.clean.asks_teacher) or (
            self.mix > 0 and (self.perturbed.asks_teacher or self._asks_beside_halves)
        )

    @property
    def _asks_beside_halves(self) -> bool:
        return self.attack.asks_teacher or self.indirect_gradient is not None

    @property
    def is_replayable(self) -> bool:
        halves_are = self.clean.is_replayable and self.perturbed.is_replayable
        asks_of_perturbed = self.perturbed.asks_teacher and self.teacher_sees == "perturbed"
        return (
            super().is_replayable
            and halves_are
            and not asks_of_perturbed
            and self.indirect_gradient is None
        )

    @property
    def is_attacked(self) -> bool:
        return self.mix > 0

    def cautions(self, epochs: int) -> Iterator[str]:
        yield from super().cautions(epochs)
        matched = self.indirect_gradient
        if matched is not None and matched.ramp > epochs:
            yield (
                f"method.indirect_gradient.ramp: {matched.ramp} epochs are more than the {epochs} "
                "of the training, so that the weight never is whole"
            )

    def check_fits(self, student: Described, teacher: TrainedTeacher | None) -> None:
        for name, half, weight in (
            ("clean", self.clean, 1 - self.mix),
            ("perturbed", self.perturbed, self.mix),
        ):
            try:
                if weight > 0:
                    half.check_fits(student, teacher)
            except ValueError as error:
                raise ValueError(str(error).replace("method.", f"method.{name}.", 1)) from None
        if self.mix > 0:
            self.attack.check_fits(student)
        elif self.indirect_gradient is not None:
            raise ValueError(
                "method.indirect_gradient: is of images that the attack has made, and mix 0 makes "
                "none (allowed: mix above 0, or indirect_gradient: null)"
            )

    def losses_of(
        self,
        step: TrainingStep,
        examples: Float32[Tensor, "B C H W"] | None,
        clean: Float[Tensor, "B K"] | None = None,
    ) -> Losses:
        halves: list[tuple[str, float, Losses]] = []
        if self.mix < 1:
            answer = self.clean.ask(step) if self.clean.asks_teacher else None
            logits = step.student.logits(step.batch.images) if clean is None else clean
            halves.append(("clean", 1 - self.mix, self.clean.of(logits, step.batch.labels, answer)))
        if examples is not None:
            shown = examples if self.teacher_sees == "perturbed" else None
            answer = self.perturbed.ask(step, shown) if self.perturbed.asks_teacher else None
            logits = step.student.logits(examples)
            halves.append(
                ("perturbed", self.mix, self.perturbed.of(logits, step.batch.labels, answer))
            )
        total = sum(
            (weight * losses.total for _, weight, losses in halves[1:]),
            halves[0][1] * halves[0][2].total,
        )
        terms = {
            f"{half}_{term}": value
            for half, _, losses in halves
            for term, value in losses.terms.items()
        }
        if examples is not None and self.indirect_gradient is not None:
            matched = self.matched_gradient(step, examples, halves[-1][2].logits)
            terms["indirect_gradient"] = matched
            total = total + self.indirect_gradient.weight_in(step.epoch) * matched
        return Losses(total, terms, halves[0][2].logits)

    @staticmethod
    def matched_gradient(
        step: TrainingStep, examples: Float32[Tensor, "B C H W"], perturbed: Float[Tensor, "B K"]
    ) -> Float[Tensor, ""]:
        """IGDM's term of a student that answers ``perturbed`` to ``examples``."""
        assert step.teacher is not None  # an experiment without a teacher is refused
        opposite = 2 * step.batch.images - examples
        plus, minus = (
            step.teacher(images, step.batch.labels, temperature=1.0).logits
            for images in (examples, opposite)
        )
        return indirect_gradient((perturbed, step.student.logits(opposite)), (plus, minus))
