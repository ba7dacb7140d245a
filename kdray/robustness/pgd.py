"""Accuracy under projected gradient descent: noisy_collaboration, eqs. 4 and 5, "worst of 5 random initializations".

An example counts as robust only if no restart breaks it (worst per example, the usual and stricter reading). Examples that
are misclassified without a perturbation are broken from the start, and an example that a restart broke is left out of the
next ones; neither changes the number.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal

import torch
from jaxtyping import Bool
from pydantic import Field
from torch import Tensor

from kdray.models import Classifier
from kdray.perturbations.attacks import Norm, pgd, random_start
from kdray.robustness.base import Block, Evaluation, Measurement, Subject, accuracy, blocks, is_correct


class PGD(Evaluation):
    """PGD-``steps`` on the cross-entropy, final iterate, uniform random start in the ball."""

    paper: ClassVar[str] = "noisy_collaboration figs. 1, 2, 4; smoothed_models tables 2, 3"

    name: Literal["pgd"] = "pgd"
    norm: Norm = "linf"
    epsilon: Annotated[float, Field(ge=0)] = 8 / 255
    """Radius of the ball, in pixel units of images in [0, 1]."""
    step_size: Annotated[float, Field(gt=0)] = 2 / 255
    steps: Annotated[int, Field(ge=1)] = 20
    restarts: Annotated[int, Field(ge=1)] = 1
    samples: Annotated[int, Field(ge=1)] = 1
    """Passes that each step's gradient is averaged over (EPGD), for models that draw."""

    def metrics(self) -> dict[str, int]:
        return {"accuracy": 1}

    def measure(self, subject: Subject) -> Iterator[Measurement]:
        correct = sum(int(self._robust(subject.classifier, block).sum()) for block in blocks(subject.split))
        yield accuracy(
            correct, len(subject.split.labels), norm=self.norm, epsilon=self.epsilon, step_size=self.step_size,
            steps=self.steps, restarts=self.restarts, samples=self.samples,
        )  # fmt: skip

    def _robust(self, classifier: Classifier, block: Block) -> Bool[Tensor, "B"]:
        robust = is_correct(classifier, block.images, block.labels)
        for restart in range(self.restarts):
            # Drawn for the whole block: an example's start does not depend on which others are still standing.
            draws = self.generator(block.images.device, block.number, restart)
            start = random_start(block.images, self.norm, self.epsilon, draws)
            standing = torch.nonzero(robust).flatten()
            if not len(standing):
                break
            images, labels = block.images[standing], block.labels[standing]
            adversarial = pgd(
                classifier.logits, images, labels, norm=self.norm, epsilon=self.epsilon, step_size=self.step_size,
                steps=self.steps, start=start[standing], samples=self.samples,
            )  # fmt: skip
            robust[standing] = is_correct(classifier, adversarial, labels)
        return robust
