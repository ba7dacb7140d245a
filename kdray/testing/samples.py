"""What contracts are held on: digits, small classifiers, generators, a teacher that is asked
plainly."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from kdray.data import Dataset, Digits, to_unit
from kdray.methods import EpochViews, Teacher
from kdray.models import MLP, Classifier, Model, Outputs, build, fit
from kdray.teachers import frozen


def draws(seed: int = 0) -> torch.Generator:
    """Return a generator of its own."""
    return torch.Generator().manual_seed(seed)


@cache
def digits() -> Dataset:
    """Return the 8 x 8 digits that are shipped with kdray."""
    return Digits().load(Path())


def classifier_of(model: Model, seed: int) -> Classifier:
    """Return an untrained classifier of digits."""
    return build(model, Digits(), fit(Digits(), digits()), seed)


@cache
def untrained_on_digits() -> Classifier:
    """Return a classifier that knows nothing. Shared: leave it as it is."""
    return frozen(classifier_of(MLP(hidden=(16,)), seed=1))


@cache
def trained_on_digits() -> Classifier:
    """Return a classifier that is right on most test digits, and broken by moderate noise and
    attacks. Shared: leave it as it is."""
    classifier = classifier_of(MLP(hidden=(32,)), seed=0)
    optimizer = torch.optim.Adam(classifier.parameters(), 0.01)
    images, labels = to_unit(digits().train.images), digits().train.labels
    for _ in range(60):
        optimizer.zero_grad()
        functional.cross_entropy(classifier.logits(images), labels).backward()
        optimizer.step()
    optimizer.zero_grad()
    return frozen(classifier)


class PlainTeacher(Teacher):
    """Answers as ``classifier`` does, in every epoch, with a graph if the images ask for one."""

    def __init__(self, classifier: Classifier) -> None:
        self.classifier = classifier.eval()

    def __call__(self, images: Tensor, labels: Tensor, *, temperature: float) -> Outputs:
        del labels, temperature
        with torch.set_grad_enabled(images.requires_grad):
            outputs: Outputs = self.classifier(images)
        return outputs

    def epoch(self, *counters: int, views: EpochViews | None = None) -> Teacher:
        del counters, views
        return self


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    """Return whether two state dicts have the same tensors, bit by bit."""
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def copied(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return ``state`` with tensors that nobody else changes."""
    return {name: tensor.clone() for name, tensor in state.items()}
