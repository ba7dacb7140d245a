"""Relational knowledge distillation (Park, Kim, Lu, Cho 2019, arXiv:1904.05068, eqs. 5 to 9).

    L = CE(z_S, y) + λ_D·mean of l(ψ_D(s_i, s_j), ψ_D(t_i, t_j))
                   + λ_A·mean of l(ψ_A(s_i, s_j, s_k), ψ_A(t_i, t_j, t_k))
    ψ_D(a, b) = ‖a - b‖/μ
    ψ_A(a, b, c) = cos of the angle abc = ⟨(a - b)/‖a - b‖, (c - b)/‖c - b‖⟩

s and t are the embeddings of the examples of a batch, the inputs of the last layers; μ is the mean
distance of the batch's pairs, each network's own; l is Huber's loss, x²/2 for |x| below 1 and |x| -
1/2 beyond. The paper sums over pairs and triplets. Its weights belong to means over all B² pairs
and B³ triplets, of which those that hold an example twice count 0.

Equal embeddings have a distance of 0 without a gradient, angles at or to them a cosine of 0, and no
place in μ.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, NamedTuple

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from kdray.methods.base import Losses, Method, TrainedTeacher, TrainingStep
from kdray.models import Described

EQUAL = 1e-12
"""Embeddings whose squared distance is no larger part of their squared lengths (from the batch's
mean) are equal but for the rounding of float64; different ones of float32 are further apart, but
for a few in their last bit."""


class Relations(NamedTuple):
    """Distances and angles of all pairs and triplets of a batch."""

    distances: Float[Tensor, "B B"]
    """ψ_D at [i, j]: ‖e_j - e_i‖ over the mean of those that are not 0."""
    cosines: Float[Tensor, "B B B"]
    """ψ_A at [i, j, k], of which i is the vertex."""


def relations(embedding: Float[Tensor, "B D"]) -> Relations:
    """The relations of a batch, from the inner products of its embeddings alone: time and memory
    grow with B²·D and B³, not with B³·D. In float64, as differences of products lose digits."""
    centred = embedding.double() - embedding.double().mean(0)
    products = centred @ centred.T
    squared = products.diagonal()
    # ⟨e_j - e_i, e_k - e_i⟩ at [i, j, k]
    between = products + (squared[:, None, None] - products[:, :, None] - products[:, None, :])
    squares = between.diagonal(dim1=1, dim2=2)
    equal = squares <= EQUAL * (squared[:, None] + squared)
    lengths = squares.masked_fill(equal, 1.0).sqrt().masked_fill(equal, 0.0)
    mean = lengths.sum() / (~equal).sum().clamp(min=1)
    distances = lengths / mean.masked_fill(mean == 0, 1.0)
    scales = lengths.masked_fill(equal, torch.inf).reciprocal().to(embedding.dtype)
    cosines = between.to(embedding.dtype) * scales[:, :, None] * scales[:, None, :]
    return Relations(distances.to(embedding.dtype), cosines)


def relational(
    student: Float[Tensor, "B D"], teacher: Float[Tensor, "B E"]
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """The losses of distances and of angles, the mean over all pairs and all triplets."""
    ours, theirs = relations(student), relations(teacher)
    return (
        functional.smooth_l1_loss(ours.distances, theirs.distances),
        functional.smooth_l1_loss(ours.cosines, theirs.cosines),
    )


class RKD(Method):
    """CE(z_S, y) + λ_D·Huber of ψ_D + λ_A·Huber of ψ_A: how far the examples' embeddings are from
    each other, and at which angles."""

    terms: ClassVar[tuple[str, ...]] = ("cross_entropy", "distance", "angle")
    needs_teacher: ClassVar[bool] = True
    same_operations: ClassVar[bool] = True
    takes_distributions: ClassVar[bool] = True
    paper: ClassVar[str] = "Park et al. 2019, eqs. 5 to 9 (arXiv:1904.05068)"

    name: Literal["rkd"] = "rkd"
    distance_weight: Annotated[float, Field(ge=0)] = 25.0
    """λ_D; 0: no distances."""
    angle_weight: Annotated[float, Field(ge=0)] = 50.0
    """λ_A; 0: no angles."""

    def check_fits(self, student: Described, teacher: TrainedTeacher | None) -> None:
        del student
        if teacher is None:
            raise ValueError(f"method {self.name} needs embeddings, and a virtual teacher has none")
        if teacher.smoothing is not None:
            raise ValueError("supervision.smoothing: a smoothed teacher has no embedding")

    def losses(self, stage: str, step: TrainingStep) -> Losses:
        del stage
        assert step.teacher is not None  # an experiment without a teacher is refused
        answer = step.teacher(step.batch.clean, step.batch.labels, temperature=1.0)
        outputs = step.student(step.batch.images)
        hard = functional.cross_entropy(outputs.logits, step.batch.targets)
        kind = torch.promote_types(outputs.embedding.dtype, torch.float32)
        distance, angle = relational(outputs.embedding.to(kind), answer.embedding.to(kind))
        total = hard + self.distance_weight * distance + self.angle_weight * angle
        terms = {"cross_entropy": hard, "distance": distance, "angle": angle}
        return Losses(total, terms, outputs.logits)
