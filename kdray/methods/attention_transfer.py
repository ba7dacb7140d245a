"""Attention transfer (Zagoruyko, Komodakis 2017, arXiv:1612.03928, section 3.1, eqs. 1 and 2).

    L = CE(z_S, y) + β/2·Σ_j mean of (Q_S^j/‖Q_S^j‖ - Q_T^j/‖Q_T^j‖)²,   Q = Σ_c A_c²

A is the map of a stage, whose squares are summed over its channels c; the norm is over its places.
Eq. 2 prints the norm of the difference and a β of 10³ over the number of places and the size of the
batch, which is that mean of squares with a β of 10³. Where the maps of a pair differ in size, both
are averaged over cells of the smaller one (adaptive pooling) before they are squared.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from kdray.core import Several, tag_of
from kdray.methods.base import Losses, Method, TrainedTeacher, TrainingStep
from kdray.methods.unit import unit
from kdray.models import Described, stage_shapes


def attention(stage: Float[Tensor, "B C *map"]) -> Float[Tensor, "B P"]:
    """Q/‖Q‖ of every example; a vector is a map with one place."""
    kind = torch.promote_types(stage.dtype, torch.float32)
    return unit(stage.to(kind).square().sum(1).reshape(len(stage), -1), 1)


def averaging(size: int, cells: int, like: Tensor) -> Float[Tensor, "cells size"]:
    """The matrix that averages ``size`` numbers over ``cells`` cells, as adaptive pooling cuts
    them."""
    # torch's own pooling is not repeatable on a GPU.
    cell = torch.arange(cells, device=like.device)[:, None]
    place = torch.arange(size, device=like.device)[None]
    inside = (place >= cell * size // cells) & (place * cells < (cell + 1) * size)
    weights = inside.to(like.dtype)
    return weights / weights.sum(1, keepdim=True)


def pooled(stage: Tensor, size: tuple[int, ...]) -> Tensor:
    """The maps of ``stage`` averaged to ``size`` (height, width), if they have another."""
    if stage.ndim != 4 or tuple(stage.shape[2:]) == size:
        return stage
    height, width = (averaging(*pair, stage) for pair in zip(stage.shape[2:], size, strict=True))
    return height @ stage @ width.T


def attention_loss(student: Tensor, teacher: Tensor) -> Float[Tensor, ""]:
    """The mean of (Q_S/‖Q_S‖ - Q_T/‖Q_T‖)² over examples and places, of one stage of each."""
    size = tuple(min(pair) for pair in zip(student.shape[2:], teacher.shape[2:], strict=True))
    ours, theirs = (attention(pooled(stage, size)) for stage in (student, teacher))
    return functional.mse_loss(ours, theirs)


class AttentionTransfer(Method):
    """CE(z_S, y) + β/2·Σ_j mean of (Q_S/‖Q_S‖ - Q_T/‖Q_T‖)², Q a stage's squared activations summed
    over channels."""

    terms: ClassVar[tuple[str, ...]] = ("cross_entropy", "attention")
    needs_teacher: ClassVar[bool] = True
    same_operations: ClassVar[bool] = True
    takes_distributions: ClassVar[bool] = True
    paper: ClassVar[str] = "Zagoruyko, Komodakis 2017, section 3.1, eqs. 1, 2 (arXiv:1612.03928)"

    name: Literal["attention_transfer"] = "attention_transfer"
    beta: Annotated[float, Field(ge=0)] = 1000.0
    """β; 0: labels only."""
    student_stages: Annotated[Several[Annotated[int, Field(ge=0)]], Field(min_length=1)] | None = (
        None
    )
    """The student's stages that are taught, from 0 at the input; none: all."""
    teacher_stages: Annotated[Several[Annotated[int, Field(ge=0)]], Field(min_length=1)] | None = (
        None
    )
    """The teacher's stages that teach, one for each of them in the same order; none: all."""

    def check_fits(self, student: Described, teacher: TrainedTeacher | None) -> None:
        if teacher is None:
            raise ValueError(
                f"method {self.name} needs hidden layers, and a virtual teacher has none"
            )
        if teacher.smoothing is not None:
            raise ValueError(
                "supervision.smoothing: a smoothed teacher has no hidden layers to attend with"
            )
        ours = maps("student_stages", self.student_stages, student)
        theirs = maps("teacher_stages", self.teacher_stages, teacher.network)
        if len(ours) != len(theirs):
            raise ValueError(
                f"method.student_stages: {len(ours)} stages of the student cannot be paired with "
                f"{len(theirs)} of the teacher; say which with student_stages and teacher_stages"
            )

    def losses(self, stage: str, step: TrainingStep) -> Losses:
        del stage
        assert step.teacher is not None  # an experiment without a teacher is refused
        answer = step.teacher(step.batch.clean, step.batch.labels, temperature=1.0)
        outputs = step.student(step.batch.images)
        hard = functional.cross_entropy(outputs.logits, step.batch.targets)
        pairs = zip(
            chosen(outputs.stages, self.student_stages),
            chosen(answer.stages, self.teacher_stages),
            strict=True,
        )
        attention = torch.stack([attention_loss(*pair) for pair in pairs]).sum()
        total = hard + self.beta / 2 * attention
        return Losses(total, {"cross_entropy": hard, "attention": attention}, outputs.logits)


def chosen(stages: tuple[Tensor, ...], indices: tuple[int, ...] | None) -> tuple[Tensor, ...]:
    """The stages with these indices, or all."""
    return stages if indices is None else tuple(stages[index] for index in indices)


def maps(field: str, indices: tuple[int, ...] | None, network: Described) -> list[tuple[int, ...]]:
    """The shapes of the stages of ``network`` that ``field`` of the method chooses, all of them
    maps."""
    shapes, model = stage_shapes(*network), tag_of(type(network.model))
    if not shapes:
        raise ValueError(f"method.{field}: model {model} has no stages to compare")
    for index in indices or ():
        if index >= len(shapes):
            raise ValueError(
                f"method.{field}: {index} is not below {len(shapes)}, the number of the model's "
                "stages"
            )
    found = [shapes[index] for index in (range(len(shapes)) if indices is None else indices)]
    for shape in found:
        if len(shape) != 3:
            raise ValueError(
                f"method.{field}: model {model} has a stage that is no map but a vector of "
                f"{shape[0]}, which has no places to attend to"
            )
    return found
