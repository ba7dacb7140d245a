"""A training step for a method, and a teacher that is a network asked plainly and remembers what it
was asked."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from kdray.core import seeds
from kdray.data import Split
from kdray.methods import Batch, Losses, Method, TrainingStep
from kdray.models import Classifier, Outputs
from kdray.testing.samples import PlainTeacher, draws
from tests.tensors import linear_classifier


class Asked(NamedTuple):
    images: Tensor
    labels: Tensor
    temperature: float
    with_graph: bool


class Plain(PlainTeacher):
    """Remembers what it was asked."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__(classifier)
        self.asked: list[Asked] = []

    def __call__(self, images: Tensor, labels: Tensor, *, temperature: float) -> Outputs:
        self.asked.append(Asked(images.detach().clone(), labels, temperature, images.requires_grad))
        return super().__call__(images, labels, temperature=temperature)


def step(method: Method, student: Classifier, batch: Batch, teacher: Plain | None) -> TrainingStep:
    """What ``method`` is given for ``batch``."""
    seen = Split((batch.images * 255).to(torch.uint8), batch.labels)
    with seeds.ambient(0, "model"):
        helper = method.helper(student, teacher, seen)
    return TrainingStep(student, helper, batch, teacher, draws())


PIXELS, CLASSES, ROWS = 6, 4, 5
LABELS = torch.tensor([0, 3, 1, 2, 2])


class Linear(NamedTuple):
    """A linear student and teacher, whose every formula can be written out, on a noisy and a clean
    image."""

    student: Any
    teacher: Any
    batch: Batch

    def losses(self, method: Method) -> tuple[Losses, Plain]:
        """The numbers that ``method`` finds, without their graph, and the teacher that it asked."""
        teacher = Plain(linear_classifier(torch.tensor(self.teacher)))
        student = linear_classifier(torch.tensor(self.student)).train().requires_grad_(True)
        total, terms, logits = method.losses("main", step(method, student, self.batch, teacher))
        return Losses(
            total.detach(), {name: term.detach() for name, term in terms.items()}, logits.detach()
        ), teacher

    @property
    def logits(self) -> tuple[Any, Any]:
        """The student's of the noisy images and the teacher's of the clean ones, in double
        precision."""
        noisy, clean = (part.flatten(1).double().numpy() for part in self.batch[:2])
        return noisy @ self.student.astype(float).T, clean @ self.teacher.astype(float).T


def linear(seed: int = 0) -> Linear:
    weights = 2 * torch.randn(2, CLASSES, PIXELS, generator=draws(seed)).numpy()
    images = torch.rand(2, ROWS, 1, 1, PIXELS, generator=draws(seed + 1))
    return Linear(weights[0], weights[1], Batch(images[0], images[1], LABELS))


def softmax(values: Any) -> Any:
    powers = np.exp(np.asarray(values, dtype=float))
    return powers / powers.sum(1, keepdims=True)


def hard(logits: Any, labels: Tensor = LABELS) -> Any:
    """The cross-entropy with the labels."""
    return -np.log(softmax(logits)[range(len(labels)), labels]).mean()


def soft(student: Any, teacher: Any, temperature: float) -> Any:
    """The cross-entropy with the teacher's softened distribution."""
    p, q = softmax(np.asarray(teacher) / temperature), softmax(np.asarray(student) / temperature)
    return -(p * np.log(q)).sum(1).mean()


def shortfall(student: Any, teacher: Any, margin: float, labels: Tensor = LABELS) -> Any:
    """max(0, γ + f_T - f_S), the mean."""
    rows = range(len(labels))
    return np.maximum(
        0, margin + softmax(teacher)[rows, labels] - softmax(student)[rows, labels]
    ).mean()


def slope(weight: Any, logits: Any, temperature: float, labels: Tensor = LABELS) -> Any:
    """The input gradient of a linear classifier's softmax(z/τ)_y: p_y·(w_y - Σ p_j·w_j)/τ."""
    p, weight = softmax(np.asarray(logits) / temperature), np.asarray(weight, dtype=float)
    return p[range(len(labels)), labels][:, None] * (weight[labels] - p @ weight) / temperature


def mismatch(case: Linear, temperature: float, student: Any = None) -> Any:
    """L_G of ``case``, or of another ``student`` (weights) in it."""
    case = case if student is None else case._replace(student=student)
    of_student, of_teacher = case.logits
    gap = slope(case.student, of_student, temperature) - slope(
        case.teacher, of_teacher, temperature
    )
    return (gap**2).sum(1).mean()
