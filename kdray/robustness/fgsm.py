"""Accuracy under the fast gradient sign method (Goodfellow, Shlens, Szegedy 2015, arXiv:1412.6572):
one step of PGD's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from kdray.core import OneOrMore, several
from kdray.models import Classifier
from kdray.perturbations.attacks import Ball, slope
from kdray.robustness import checks
from kdray.robustness.base import (
    Block,
    Images,
    Measurement,
    Perturbing,
    Subject,
    accuracy,
    blocks,
    is_correct,
)


class FGSM(Perturbing):
    """x + ε·sign(∇_x CE), clipped to [0, 1], for one or more ε; from the image itself, without a
    random start."""

    paper: ClassVar[str] = "noisy_collaboration eq. 5 with one step (Goodfellow et al. 2015)"

    name: Literal["fgsm"] = "fgsm"
    epsilon: OneOrMore[Annotated[float, Field(ge=0)]] = 8 / 255
    """One or a list; pixel units of images in [0, 1]; 0: the clean image."""

    def strengths(self) -> list[dict[str, Any]]:
        return [
            {"norm": "linf", "epsilon": epsilon, "steps": 1} for epsilon in several(self.epsilon)
        ]

    def perturbed(self, classifier: Classifier, block: Block) -> Iterator[Images]:
        return self._moved(
            block.images, slope(classifier.logits, block.images, block.labels).gradient
        )

    def _moved(self, images: Images, gradient: Images) -> Iterator[Images]:
        for epsilon in several(self.epsilon):
            yield Ball(images, "linf", epsilon).step(images, gradient, epsilon)

    def measure(self, subject: Subject) -> Iterator[Measurement]:
        strengths, examples = self.strengths(), len(subject.split.labels)
        clean, flat, correct = 0, 0, [0] * len(strengths)
        for block in blocks(subject.split):
            gradient, logits = slope(subject.classifier.logits, block.images, block.labels)
            clean += int((logits.argmax(1) == block.labels).sum())
            flat += int(checks.leads_nowhere(gradient).sum())
            for number, moved in enumerate(self._moved(block.images, gradient)):
                correct[number] += int(is_correct(subject.classifier, moved, block.labels).sum())
        flat_at, drawn = checks.zero_gradients(flat, examples), checks.random_output(subject)
        for parameters, right in zip(strengths, correct, strict=True):
            reasons = checks.joined(flat_at, drawn, checks.above_clean(right, clean))
            yield accuracy(right, examples, checks=reasons, **parameters)
