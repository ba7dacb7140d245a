"""Contrastive representation distillation (Tian, Krishnan, Isola 2020, arXiv:1910.10699, eqs. 9 to
19).

    L = CE(z_S, y) + β·(L_S + L_T)
    L_S = mean of -log h(g_S, t⁺) - Σ over N negatives of log(1 - h(g_S, t⁻))
    h(g, m) = P/(P + N/M),   P = exp(⟨g, m⟩/τ)/Z

g_S and g_T are the embeddings, the inputs of the last layers, each mapped linearly to the same
number of dimensions and to length 1. A memory has the latest g_S and g_T of each of the M training
examples; t⁺ is the teacher's memory of the same example, t⁻ that of another, drawn with
replacement. L_T is the same with the networks exchanged. After a step the memory of the batch's
examples is ρ·m + (1 - ρ)·g, to length 1.

Z, of which the paper only says that h is a probability, is M times the mean of exp(⟨g, m⟩/τ) in the
first step, as in its noise-contrastive estimation's source (Wu et al. 2018, arXiv:1805.01978).
Everything is computed of logarithms. Negatives are counted for each place of the memory, not
copied: B·M products instead of B·N copies of an embedding.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import torch
from jaxtyping import Float, Int64
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from kdray.core import Effort, InputError
from kdray.data import ImageData, Split, to_unit
from kdray.methods.base import Losses, Method, Teacher, TrainedTeacher, TrainingStep
from kdray.methods.unit import unit
from kdray.models import Classifier, Described

UNSEEN = -1
"""The remembered label of an example that was in no batch yet."""


class Side(nn.Module):
    """What is kept of one of the two networks: its map to the common space, its memory, and log Z
    of those that are compared with the memory."""

    def __init__(self, width: int, dimensions: int, examples: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, dimensions)
        self.memory: Tensor
        self.log_z: Tensor
        self.register_buffer("memory", unit(torch.randn(examples, dimensions), 1))
        self.register_buffer("log_z", torch.tensor(math.inf))

    def embed(self, embedding: Float[Tensor, "B W"]) -> Float[Tensor, "B D"]:
        """g, of length 1."""
        projected: Tensor = self.linear(embedding)
        return unit(projected.to(self.memory.dtype), 1)

    def contrast(
        self,
        anchors: Float[Tensor, "B D"],
        positions: Int64[Tensor, "B"],
        negatives: Float[Tensor, "B M"],
        temperature: float,
    ) -> Float[Tensor, ""]:
        """The loss of ``anchors``, the other network's, against this memory; the first call fixes
        Z."""
        scores = anchors @ self.memory.T / temperature
        positive = scores.gather(1, positions[:, None])[:, 0]
        if_first = log_partition(scores.detach(), positive.detach(), negatives)
        self.log_z = torch.where(self.log_z.isinf(), if_first, self.log_z)
        return contrastive(scores - self.log_z, positive - self.log_z, negatives)

    def remember(
        self, embedded: Float[Tensor, "B D"], positions: Int64[Tensor, "B"], momentum: float
    ) -> None:
        """Move the memory of these examples towards what they are now."""
        moved = momentum * self.memory[positions] + (1 - momentum) * embedded.detach()
        # A new tensor, because the loss's gradient is still to be computed of the old one.
        self.memory = self.memory.index_copy(0, positions, unit(moved, 1))


class Memory(nn.Module):
    """Both networks' sides, and the labels of the examples that were seen."""

    def __init__(self, student: int, teacher: int, dimensions: int, examples: int) -> None:
        super().__init__()
        self.student = Side(student, dimensions, examples)
        self.teacher = Side(teacher, dimensions, examples)
        self.labels: Tensor
        self.register_buffer("labels", torch.full((examples,), UNSEEN))


def log_partition(
    scores: Float[Tensor, "B M"], positive: Float[Tensor, "B"], negatives: Float[Tensor, "B M"]
) -> Float[Tensor, ""]:
    """log Z: M times the mean of exp(score) over the positives and the ``negatives``, which says
    how often each place was drawn."""
    drawn = torch.cat([(scores + negatives.log()).flatten(), positive])
    count = negatives.sum() + len(positive)
    return torch.logsumexp(drawn, 0) + math.log(scores.shape[1]) - count.log()


def contrastive(
    scores: Float[Tensor, "B M"], positive: Float[Tensor, "B"], negatives: Float[Tensor, "B M"]
) -> Float[Tensor, ""]:
    """The mean of -log h(positive) - Σ log(1 - h(negative)), of log P."""
    noise = math.log(scores.shape[1])
    drawn = negatives.sum(1)
    first = functional.softplus(drawn.log() - noise - positive)
    rest = negatives * functional.softplus(scores - (drawn.log() - noise)[:, None])
    return (first + rest.sum(1)).mean()


def draw_negatives(
    kinds: Int64[Tensor, "M"], positions: Int64[Tensor, "B"], count: int, draws: torch.Generator
) -> Float[Tensor, "B M"]:
    """How often each example is drawn for each of ``positions``, ``count`` times in all, uniformly
    among the examples of other ``kinds``."""
    ordered, order = torch.sort(kinds, stable=True)
    own = kinds[positions][:, None]
    first, end = (torch.searchsorted(ordered, own, right=right) for right in (False, True))
    others = len(kinds) - (end - first)
    chances = torch.rand(len(positions), count, generator=draws, device=kinds.device)
    places = torch.minimum((chances.double() * others).long(), others - 1)
    places = (places + (places >= first) * (end - first)).clamp(0, len(kinds) - 1)
    drawn = torch.zeros(len(positions), len(kinds), device=kinds.device)
    return drawn.scatter_add_(1, order[places], torch.ones_like(chances))


class CRD(Method):
    """CE(z_S, y) + β·(L_S + L_T): noise-contrastive estimation tells the other network's embedding
    of the same example from those of N others, which a memory has."""

    terms: ClassVar[tuple[str, ...]] = ("cross_entropy", "contrast")
    needs_teacher: ClassVar[bool] = True
    paper: ClassVar[str] = "Tian et al. 2020, eqs. 9 to 19 (arXiv:1910.10699)"

    name: Literal["crd"] = "crd"
    beta: Annotated[float, Field(ge=0)] = 0.8
    """β; 0: labels only."""
    negatives: Annotated[int, Field(ge=1), Effort(smoke=16)] = 16384
    """N for each example, drawn with replacement; no more than there are to draw from."""
    negatives_from: Literal["other_classes", "other_examples"] = "other_classes"
    """other_classes: not from the examples that were last trained on with the same label;
    other_examples: from all but the example itself, without a look at the labels."""
    temperature: Annotated[float, Field(gt=0)] = 0.07
    """τ of ⟨g, m⟩, which lies between -1 and 1; no teacher's logits are softened."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """ρ of the memory; 0: the latest embedding, towards 1 it stays as it is."""
    dimensions: Annotated[int, Field(ge=2)] = 128
    """Of g."""

    def check_fits(self, student: Described, teacher: TrainedTeacher | None) -> None:
        del student
        if teacher is None:
            raise ValueError(f"method {self.name} needs embeddings, and a virtual teacher has none")
        if teacher.smoothing is not None:
            raise ValueError("supervision.smoothing: a smoothed teacher has no embedding")

    def check_data(self, data: ImageData, root: Path) -> None:
        self.check_negatives(data.training_labels(root))

    def helper(self, student: Classifier, teacher: Teacher | None, train: Split) -> nn.Module:
        assert teacher is not None
        self.check_negatives(train.labels)
        images = to_unit(train.images[:1].to(train.device))
        with torch.no_grad():
            ours, theirs = student(images), teacher(images, train.labels[:1], temperature=1.0)
        widths = (ours.embedding.shape[1], theirs.embedding.shape[1])
        return Memory(*widths, self.dimensions, len(train.labels)).to(images.device)

    def check_negatives(self, labels: Int64[Tensor, "M"]) -> None:
        """InputError if the training split has too few examples to draw from."""
        own = int(labels.bincount().max()) if self.negatives_from == "other_classes" else 1
        there = len(labels) - own
        if self.negatives > there:
            what = self.negatives_from.replace("_", " ")
            raise InputError(
                f"method.negatives: {self.negatives} are more than the {there} training examples "
                f"that there are of {what}"
            )

    def losses(self, stage: str, step: TrainingStep) -> Losses:
        del stage
        memory, batch, positions = step.helper, step.batch, step.batch.positions
        assert step.teacher is not None  # an experiment without a teacher is refused
        assert isinstance(memory, Memory)
        assert positions is not None  # every training says them
        answer = step.teacher(batch.clean, batch.labels, temperature=1.0)
        outputs = step.student(batch.images)
        student = memory.student.embed(outputs.embedding)
        teacher = memory.teacher.embed(answer.embedding)
        memory.labels = memory.labels.index_copy(0, positions, batch.labels)
        kinds = (
            memory.labels
            if self.negatives_from == "other_classes"
            else torch.arange(len(memory.labels), device=positions.device)
        )
        # Both networks are compared with the same negatives' memories.
        drawn = draw_negatives(kinds, positions, self.negatives, step.draws)
        contrast = memory.teacher.contrast(student, positions, drawn, self.temperature)
        contrast = contrast + memory.student.contrast(teacher, positions, drawn, self.temperature)
        memory.student.remember(student, positions, self.momentum)
        memory.teacher.remember(teacher, positions, self.momentum)
        hard = functional.cross_entropy(outputs.logits, batch.labels)
        terms = {"cross_entropy": hard, "contrast": contrast}
        return Losses(hard + self.beta * contrast, terms, outputs.logits)
