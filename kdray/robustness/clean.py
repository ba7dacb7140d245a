"""Accuracy and loss on the images as they are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

import torch
from torch.nn import functional

from kdray.data import Split
from kdray.models import Classifier
from kdray.robustness.base import Evaluation, Measurement, Subject, accuracy, blocks


@torch.no_grad()
def score(classifier: Classifier, split: Split) -> tuple[int, float]:
    """How many images of ``split`` are classified correctly, and their mean cross-entropy."""
    correct = torch.zeros((), dtype=torch.long, device=split.labels.device)
    loss = torch.zeros((), dtype=torch.float64, device=split.labels.device)
    for block in blocks(split):
        logits = classifier.logits(block.images)
        correct += (logits.argmax(1) == block.labels).sum()
        loss += functional.cross_entropy(logits, block.labels, reduction="sum").double()
    return int(correct), float(loss) / len(split.labels)


class Clean(Evaluation):
    """Accuracy and cross-entropy without any perturbation."""

    paper: ClassVar[str] = "every paper's clean accuracy; current_understanding table 2"

    name: Literal["clean"] = "clean"

    def metrics(self) -> dict[str, int]:
        return {"accuracy": 1, "loss": 1}

    def measure(self, subject: Subject) -> Iterator[Measurement]:
        """Where the training set lacked classes, the accuracy on images of those and of the others apart as well."""
        split, classifier = subject.split, subject.classifier
        correct, loss = score(classifier, split)
        yield accuracy(correct, len(split.labels))
        yield Measurement(metric="loss", value=loss, examples=len(split.labels))
        omitted = torch.isin(split.labels, torch.tensor(subject.omitted, dtype=torch.long, device=split.labels.device))
        for name, chosen in (("seen_accuracy", ~omitted), ("omitted_accuracy", omitted)):
            part = split.take(chosen.nonzero().flatten())
            if subject.omitted and len(part.labels):
                right, _ = score(classifier, part)
                yield accuracy(right, len(part.labels), metric=name)
