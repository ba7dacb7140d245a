"""Accuracy under the fast gradient sign method (Goodfellow, Shlens, Szegedy 2015, arXiv:1412.6572): one step of PGD's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field

from kdray.core import Several
from kdray.perturbations.attacks import pgd
from kdray.robustness.base import Evaluation, Measurement, Subject, accuracy, blocks, is_correct


class FGSM(Evaluation):
    """x + ε·sign(∇_x CE), clipped to [0, 1], for several ε; from the image itself, without a random start."""

    paper: ClassVar[str] = "noisy_collaboration eq. 5 with one step (Goodfellow et al. 2015)"

    name: Literal["fgsm"] = "fgsm"
    epsilons: Annotated[Several[Annotated[float, Field(ge=0)]], Field(min_length=1)] = (8 / 255,)
    """Pixel units of images in [0, 1]; 0: the clean image."""

    def metrics(self) -> dict[str, int]:
        return {"accuracy": len(self.epsilons)}

    def measure(self, subject: Subject) -> Iterator[Measurement]:
        classifier, examples = subject.classifier, len(subject.split.labels)
        for epsilon in self.epsilons:
            correct = torch.zeros((), dtype=torch.long, device=subject.split.labels.device)
            for block in blocks(subject.split):
                adversarial = pgd(
                    classifier.logits, block.images, block.labels, norm="linf", epsilon=epsilon, step_size=epsilon,
                    steps=1, start=block.images,
                )  # fmt: skip
                correct += is_correct(classifier, adversarial, block.labels).sum()
            yield accuracy(int(correct), examples, norm="linf", epsilon=epsilon, steps=1)
