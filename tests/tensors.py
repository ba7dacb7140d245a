"""Generators, a statistic and classifiers that tests of several packages need."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from kdray.data import Dataset, Digits, to_unit
from kdray.models import MLP, Classifier, build, fit
from kdray.teachers import frozen


def draws(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def distance_from_uniform(samples: Tensor) -> Tensor:
    """Kolmogorov-Smirnov's statistic times √n against U(0, 1): above 1.95 once in a thousand."""
    ordered = samples.flatten().double().sort().values
    ranks = torch.arange(len(ordered) + 1, dtype=torch.float64) / len(ordered)
    return torch.maximum(ranks[1:] - ordered, ordered - ranks[:-1]).max() * len(ordered) ** 0.5


def linear_classifier(weight: Tensor, bias: Tensor | None = None) -> Classifier:
    """Logits ``weight @ pixels + bias`` for images in [0, 1] as they are."""
    classes, pixels = weight.shape
    classifier = Classifier(MLP(hidden=()).build((1, 1, pixels), classes), torch.nn.Identity())
    classifier.load_state_dict(
        {
            **classifier.state_dict(),
            "network.head.weight": weight,
            "network.head.bias": torch.zeros(classes) if bias is None else bias,
        }
    )
    return frozen(classifier)


@cache
def digits() -> Dataset:
    return Digits().load(Path())


@cache
def untrained_on_digits() -> Classifier:
    return frozen(build(MLP(hidden=(16,)), Digits(), fit(Digits(), digits()), seed=1))


@cache
def trained_on_digits() -> Classifier:
    """Right on most test digits, and broken by moderate noise and attacks. Shared: leave it as it
    is."""
    classifier = build(MLP(hidden=(32,)), Digits(), fit(Digits(), digits()), seed=0)
    optimizer = torch.optim.Adam(classifier.parameters(), 0.01)
    images, labels = to_unit(digits().train.images), digits().train.labels
    for _ in range(60):
        optimizer.zero_grad()
        functional.cross_entropy(classifier.logits(images), labels).backward()
        optimizer.step()
    optimizer.zero_grad()
    return frozen(classifier)


class Watched(Classifier):
    """The classifier trained on digits, remembering the images that it was shown."""

    def __init__(self) -> None:
        inner = trained_on_digits()
        super().__init__(inner.network, inner.normalization)
        self.shown: list[Tensor] = []

    def logits(self, images: Tensor) -> Tensor:
        self.shown.append(images.clone())
        return super().logits(images)
