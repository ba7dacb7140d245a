"""Hints from the teacher's hidden layers, then distillation: FitNets (Romero et al. 2014,
arXiv:1412.6550).

robust_student compares with it (section V). Stage "hint", two readings:

* regression (FitNets, eq. 3): ½·‖u_h(x) - r(v_g(x))‖², the student's guided layer v_g regressed
  onto the teacher's hint
  layer u_h by a convolution r that is learned with it;
* classifier (robust_student, section V.A): "we pre-trained a classifier using the features of the
  teacher network's middle
  layer, and then we apply the classifier with the student network features": cross-entropy of that
  (then frozen) classifier on r(v_g(x)), after a stage "classifier" that trains it on u_h(x).

``hint_timing: throughout`` has no stage "hint": its loss, weighted, is a term of the main stage, so
that the student is trained in one stage.

Stage "main": eq. 3, CE(z_S, y) + λ·H(softmax(z_T/τ), softmax(z_S/τ)). Each stage has an optimiser
of its own. What is learned below the guided layer in the hint stage is the student's initialisation
in the main one; r and the classifier are dropped. No weight above the guided layer changes in it,
though the running statistics of batch norm there do.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import torch
from jaxtyping import Float, Int64
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from kdray.core import Effort, tag_of
from kdray.data import Split, to_unit
from kdray.methods.additive_kd import AdditiveKD
from kdray.methods.base import Losses, Method, Stage, Teacher, TrainedTeacher, TrainingStep
from kdray.methods.standardization import LogitStandardization
from kdray.models import Classifier, Described, Outputs, stage_shapes


class Hints(nn.Module):
    """What the hint stages learn beside the student."""

    def __init__(self, guided: tuple[int, ...], hint: tuple[int, ...], classes: int) -> None:
        super().__init__()
        self.regressor = regressor(guided, hint)
        self.classifier = nn.Linear(hint[0], classes)

    def classify(self, features: Tensor, *, learn: bool) -> Tensor:
        """Logits for features of the hint layer's shape, averaged over their map."""
        pooled = features.flatten(2).mean(2) if features.ndim > 2 else features
        weight, bias = self.classifier.weight, self.classifier.bias
        return (
            functional.linear(pooled, weight, bias)
            if learn
            else functional.linear(pooled, weight.detach(), bias.detach())
        )


def regressor(guided: tuple[int, ...], hint: tuple[int, ...]) -> nn.Module:
    """A map from the guided layer's shape (channels, or channels x height x width) to the hint
    layer's.

    For maps a convolution without padding, whose kernel is as large as the guided map exceeds the
    hint map (FitNets, section 2.2). ValueError where there is none.
    """
    check_regression(guided, hint)
    if len(guided) == 1:
        return nn.Linear(guided[0], hint[0])
    return nn.Conv2d(guided[0], hint[0], (guided[1] - hint[1] + 1, guided[2] - hint[2] + 1))


def check_regression(guided: tuple[int, ...], hint: tuple[int, ...]) -> None:
    """ValueError if a guided layer of one shape cannot be regressed onto a hint layer of the
    other."""
    alike = len(guided) == len(hint) and len(hint) in (1, 3)
    if not alike or any(ours < theirs for ours, theirs in zip(guided[1:], hint[1:], strict=True)):
        raise ValueError(
            f"method fitnet: the student's stage {guided} cannot be regressed onto the "
            f"teacher's {hint}: both must be "
            "vectors, or maps of which the student's is at least as large"
        )


class FitNet(LogitStandardization, Method):
    """Hints, in a stage before or as a term beside CE + λ·H at temperature τ."""

    terms: ClassVar[tuple[str, ...]] = (*AdditiveKD.terms, "hint", "hint_classifier")
    needs_teacher: ClassVar[bool] = True
    same_operations: ClassVar[bool] = True
    paper: ClassVar[str] = (
        "robust_student sections II.C, V.A and eq. 3 (Romero et al. 2014, eqs. 3, 4)"
    )

    name: Literal["fitnet"] = "fitnet"
    hint: Literal["regression", "classifier"] = "regression"
    hint_timing: Literal["before", "throughout"] = "before"
    """before: in a stage of its own, before the main one; throughout: as a term of the main one."""
    hint_weight: Annotated[float, Field(ge=0)] = 1.0
    """Of that term; ``hint_timing: before`` has none."""
    hint_epochs: Annotated[int, Field(ge=1), Effort(smoke=2, swept=False)] = 10
    """Epochs of the hint stage."""
    classifier_epochs: Annotated[int, Field(ge=1), Effort(smoke=2, swept=False)] = 10
    """Epochs of the stage that trains the classifier on the teacher's features; ``hint:
    regression`` has none."""
    student_stage: Annotated[int, Field(ge=0)] | None = None
    """The guided layer: the student's stage that is taught, from 0 at the input; none: the middle
    one."""
    teacher_stage: Annotated[int, Field(ge=0)] | None = None
    """The hint layer: the teacher's stage that teaches; none: the middle one."""
    hint_reduction: Literal["mean", "sum"] = "mean"
    """Of ½·(u - r)² over the entries of the map: sum as FitNets' eq. 3 is printed; mean, which is
    the same for a learning rate that many times smaller."""
    weight: Annotated[float, Field(ge=0)] = 4.0
    """λ of the soft targets in the main stage."""
    temperature: Annotated[float, Field(gt=0)] = 3.0

    @model_validator(mode="after")
    def _has_a_use_for_it(self) -> FitNet:
        unused = "hint_epochs" if self.hint_timing == "throughout" else "hint_weight"
        if getattr(self, unused) != type(self).model_fields[unused].default:
            raise ValueError(f"{unused}: hint_timing: {self.hint_timing} has no use for it")
        return self

    @property
    def softening(self) -> float:
        return self.temperature

    def check_fits(self, student: Described, teacher: TrainedTeacher | None) -> None:
        if teacher is None:
            raise ValueError(
                f"method {self.name} needs hidden layers, and a virtual teacher has none"
            )
        if teacher.smoothing is not None:
            raise ValueError(
                "supervision.smoothing: a smoothed teacher has no hidden layers to give hints from"
            )
        check_regression(
            stage_shape("student_stage", self.student_stage, student),
            stage_shape("teacher_stage", self.teacher_stage, teacher.network),
        )

    def stages(self, epochs: int) -> tuple[Stage, ...]:
        first = (Stage("classifier", self.classifier_epochs),) if self.hint == "classifier" else ()
        hint = (Stage("hint", self.hint_epochs),) if self.hint_timing == "before" else ()
        return (*first, *hint, Stage("main", epochs))

    def helper(self, student: Classifier, teacher: Teacher | None, train: Split) -> nn.Module:
        assert teacher is not None
        images = to_unit(train.images[:1].to(train.device))
        with torch.no_grad():
            ours, theirs = student(images), teacher(images, train.labels[:1], temperature=1.0)
        guided, hint = (
            pick(ours.stages, self.student_stage),
            pick(theirs.stages, self.teacher_stage),
        )
        return Hints(tuple(guided.shape[1:]), tuple(hint.shape[1:]), ours.logits.shape[1]).to(
            images.device
        )

    def losses(self, stage: str, step: TrainingStep) -> Losses:
        assert step.teacher is not None  # an experiment with hints and no teacher is refused
        batch = step.batch
        distillation = AdditiveKD(
            weight=self.weight,
            temperature=self.temperature,
            logit_standardization=self.logit_standardization,
        )
        if stage == "main" and self.hint_timing == "before":
            return distillation.losses(stage, step)
        answer = step.teacher(batch.clean, batch.labels, temperature=self.temperature)
        assert isinstance(step.helper, Hints)
        hint = pick(answer.stages, self.teacher_stage)
        if stage == "classifier":
            logits = step.helper.classify(hint, learn=True)
            loss = functional.cross_entropy(logits, batch.labels)
            return Losses(loss, {"hint_classifier": loss}, logits)
        outputs = step.student(batch.images)
        loss = self._hint_loss(step.helper, outputs, hint, batch.labels)
        if stage == "hint":
            return Losses(loss, {"hint": loss}, outputs.logits)
        main = distillation.of(outputs.logits, batch.labels, answer.logits)
        return Losses(
            main.total + self.hint_weight * loss, {**main.terms, "hint": loss}, outputs.logits
        )

    def _hint_loss(
        self, helper: Hints, outputs: Outputs, hint: Tensor, labels: Int64[Tensor, "B"]
    ) -> Float[Tensor, ""]:
        """How far the student's guided layer is from the teacher's hint layer."""
        features = helper.regressor(pick(outputs.stages, self.student_stage))
        if self.hint == "regression":
            return hint_loss(features, hint, self.hint_reduction)
        return functional.cross_entropy(helper.classify(features, learn=False), labels)


def pick(stages: tuple[Tensor, ...], index: int | None) -> Tensor:
    """The stage with ``index``, or the middle one."""
    return stages[middle(len(stages)) if index is None else index]


def stage_shape(field: str, index: int | None, network: Described) -> tuple[int, ...]:
    """The shape of the stage of ``network`` that ``field`` of the method says."""
    shapes = stage_shapes(*network)
    if not shapes:
        raise ValueError(
            f"method.{field}: model {tag_of(type(network.model))} has no stages to give or take "
            "hints"
        )
    if index is not None and index >= len(shapes):
        raise ValueError(
            f"method.{field}: {index} is not below {len(shapes)}, the number of the model's stages"
        )
    return shapes[middle(len(shapes)) if index is None else index]


def middle(count: int) -> int:
    """The index of the middle of ``count`` stages, the earlier of two."""
    return (count - 1) // 2


def hint_loss(
    regressed: Float[Tensor, "B *map"],
    hint: Float[Tensor, "B *map"],
    reduction: Literal["mean", "sum"],
) -> Float[Tensor, ""]:
    """½·‖hint - regressed‖², the mean over the batch."""
    kind = torch.promote_types(regressed.dtype, torch.float32)
    squares = (regressed.to(kind) - hint.to(kind)).square().flatten(1) / 2
    return (squares.mean(1) if reduction == "mean" else squares.sum(1)).mean()
