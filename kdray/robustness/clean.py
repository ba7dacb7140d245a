"""Accuracy and loss on the images as they are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor
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


BINS = 15
"""Of confidence, equally wide (Guo et al. 2017)."""


class Clean(Evaluation):
    """Accuracy, over all and per class, and how good the probabilities are, without any
    perturbation.

    ``loss`` is the cross-entropy, which is the negative log-likelihood; ``ece`` the expected
    calibration error, |accuracy - confidence| averaged over 15 bins of confidence by their examples
    (Guo et al. 2017); ``brier`` the squared distance of the probabilities from the label, summed
    over classes (Brier 1950; 0 to 2).
    """

    paper: ClassVar[str] = (
        "every paper's clean accuracy; robust_student table V (per class); "
        "current_understanding table 2"
    )

    name: Literal["clean"] = "clean"

    def metrics(self) -> dict[str, int]:
        return {"accuracy": 1, "loss": 1, "ece": 1, "brier": 1}

    def measure(self, subject: Subject) -> Iterator[Measurement]:
        """Also a ``class_accuracy`` for each class and, where the training set lacked classes, the
        accuracy on images of those and of the others apart."""
        labels, logits = subject.split.labels, all_logits(subject.classifier, subject.split)
        right, examples = logits.argmax(1) == labels, len(labels)
        yield accuracy(int(right.sum()), examples)
        loss = functional.cross_entropy(logits, labels, reduction="sum").double()
        yield Measurement(metric="loss", value=float(loss) / examples, examples=examples)
        probabilities = functional.softmax(logits.double(), dim=1)
        yield Measurement(
            metric="ece", value=calibration_error(probabilities, labels), examples=examples
        )
        yield Measurement(metric="brier", value=brier(probabilities, labels), examples=examples)
        for label in labels.unique().tolist():
            of_class = right[labels == label]
            yield accuracy(
                int(of_class.sum()), len(of_class), metric="class_accuracy", class_=label
            )
        omitted = torch.isin(
            labels, torch.tensor(subject.omitted, dtype=torch.long, device=labels.device)
        )
        for name, part in (
            ("seen_accuracy", right[~omitted]),
            ("omitted_accuracy", right[omitted]),
        ):
            if subject.omitted and len(part):
                yield accuracy(int(part.sum()), len(part), metric=name)


@torch.no_grad()
def all_logits(classifier: Classifier, split: Split) -> Float32[Tensor, "N K"]:
    """The answer to every image of ``split``."""
    return torch.cat([classifier.logits(block.images) for block in blocks(split)])


def calibration_error(probabilities: Float[Tensor, "N K"], labels: Int64[Tensor, "N"]) -> float:
    """The expected calibration error."""
    confidence, predicted = probabilities.max(1)
    # Bins (0, 1/15], …, (14/15, 1].
    bins = (confidence * BINS).ceil().long().clamp(1, BINS) - 1
    gap = torch.zeros(BINS, dtype=torch.float64, device=labels.device)
    gap.index_add_(0, bins, (predicted == labels).double() - confidence.double())
    return float(gap.abs().sum()) / len(labels)


def brier(probabilities: Float[Tensor, "N K"], labels: Int64[Tensor, "N"]) -> float:
    """The mean over examples of Σ_k (p_k - [k = y])²."""
    wanted = functional.one_hot(labels, probabilities.shape[1])
    return float((probabilities - wanted).square().sum(1).mean())
