"""Adversarial training, with or without a teacher: every batch clean and perturbed.

smoothed_models section 2.2 (after Nemcovsky et al. 2020; Madry et al. 2017) and the adversarial
versions of current_understanding table 5:

    L = (1 - mix)·L_clean(S(x), y, T(x)) + mix·L_perturbed(S(x'), y, T(x'))        x' = PGD(S, x, y)

Each half is any loss of outputs with hyperparameters of its own: smoothed_models weighs the teacher
by 0.75 on clean and 0.25 on perturbed images. Whether the teacher sees x' or x in the second half,
the text does not say.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, ClassVar, Literal

from jaxtyping import Float32
from pydantic import Field
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from kdray.core import Effort, OpenUnion, Value, value_types
from kdray.methods.additive_kd import AdditiveKD
from kdray.methods.base import Losses, Method, OutputMethod, TrainedTeacher, TrainingStep
from kdray.methods.cross_entropy import CrossEntropy
from kdray.methods.kd import KD
from kdray.methods.margin import Margin
from kdray.methods.output_regression import OutputRegression
from kdray.models import Classifier, Described, has_dropout, is_stochastic
from kdray.perturbations.attacks import Norm, pgd, random_start

AnyOutputMethod = Annotated[
    CrossEntropy | KD | AdditiveKD | OutputRegression | Margin, OpenUnion(OutputMethod)
]


class Attack(Value):
    """PGD with one random start, on the cross-entropy of the label that is trained on."""

    paper: ClassVar[str] = (
        "smoothed_models section 2.2 (PGD-10, EPGD); current_understanding table 5 (PGD-7)"
    )

    norm: Norm = "linf"
    epsilon: Annotated[float, Field(ge=0)] = 8 / 255
    """Radius of the ball, in pixel units of images in [0, 1]."""
    step_size: Annotated[float, Field(gt=0)] = 2 / 255
    steps: Annotated[int, Field(ge=1), Effort(smoke=3, memory=3)] = 10
    samples: Annotated[int, Field(ge=1), Effort(smoke=4, memory=2)] = 1
    """Forward passes that each step's gradient is averaged over: EPGD, for models that draw; 1:
    plain PGD."""
    batch_norm: Literal["running", "batch"] = "running"
    """While crafting: the running statistics (eval mode, dropout off), or those of the batch (train
    mode, dropout active); neither changes the running ones."""


class Adversarial(Method):
    """(1 - mix)·clean + mix·perturbed."""

    needs_teacher: ClassVar[bool] = False
    """What its two losses need."""
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

    @classmethod
    def term_names(cls) -> tuple[str, ...]:
        """Those of every loss that a half may be, under the half's name."""
        methods = [kind for kind in value_types(AnyOutputMethod) if issubclass(kind, Method)]
        terms = dict.fromkeys(term for kind in methods for term in kind.term_names())
        return tuple(f"{half}_{term}" for half in ("clean", "perturbed") for term in terms)

    @property
    def asks_teacher(self) -> bool:
        """Of the halves that count."""
        return (self.mix < 1 and self.clean.asks_teacher) or (
            self.mix > 0 and self.perturbed.asks_teacher
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
        draws = is_stochastic(*student) or (
            self.attack.batch_norm == "batch" and has_dropout(*student)
        )
        if self.attack.samples > 1 and not draws:
            raise ValueError(
                f"method.attack.samples: {self.attack.samples} passes of a model that draws "
                "nothing are all the same; use 1"
            )

    def losses(self, stage: str, step: TrainingStep) -> Losses:
        del stage
        halves: list[tuple[str, float, Losses]] = []
        adversarial = self.craft(step) if self.mix > 0 else None
        if self.mix < 1:
            answer = self.clean.ask(step) if self.clean.asks_teacher else None
            logits = step.student.logits(step.batch.images)
            halves.append(("clean", 1 - self.mix, self.clean.of(logits, step.batch.labels, answer)))
        if adversarial is not None:
            shown = adversarial if self.teacher_sees == "perturbed" else None
            answer = self.perturbed.ask(step, shown) if self.perturbed.asks_teacher else None
            logits = step.student.logits(adversarial)
            halves.append(
                ("perturbed", self.mix, self.perturbed.of(logits, step.batch.labels, answer))
            )
        return Losses(
            sum(
                (weight * losses.total for _, weight, losses in halves[1:]),
                halves[0][1] * halves[0][2].total,
            ),
            {
                f"{half}_{term}": value
                for half, _, losses in halves
                for term, value in losses.terms.items()
            },
            halves[0][2].logits,
        )

    def craft(self, step: TrainingStep) -> Float32[Tensor, "B C H W"]:
        """Adversarial examples for the student as it stands, around the images that it would be
        trained on.

        They lie in [0, 1]: input noise that is not clipped in the clean half is clipped here.
        """
        attack, images = self.attack, step.batch.images
        start = random_start(images, attack.norm, attack.epsilon, step.draws)
        with crafting(step.student, attack.batch_norm):
            return pgd(
                step.student.logits,
                images,
                step.batch.labels,
                norm=attack.norm,
                epsilon=attack.epsilon,
                step_size=attack.step_size,
                steps=attack.steps,
                start=start,
                samples=attack.samples,
            )


@contextmanager
def crafting(student: Classifier, batch_norm: Literal["running", "batch"]) -> Iterator[None]:
    """``student`` in the mode that examples are crafted in; in train mode again afterwards, running
    mean and variance as they were."""
    norms = [module for module in student.modules() if isinstance(module, _BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    try:
        if batch_norm == "running":
            student.eval()
        for norm in norms:
            norm.momentum = 0.0
        yield
    finally:
        student.train()
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
