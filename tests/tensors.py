"""A statistic and classifiers that tests of several packages need."""

from __future__ import annotations

import torch
from torch import Tensor

from kdray.models import MLP, Classifier
from kdray.teachers import frozen
from kdray.testing.samples import trained_on_digits


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


class Watched(Classifier):
    """The classifier trained on digits, remembering the images that it was shown."""

    def __init__(self) -> None:
        inner = trained_on_digits()
        super().__init__(inner.network, inner.normalization)
        self.shown: list[Tensor] = []

    def logits(self, images: Tensor) -> Tensor:
        self.shown.append(images.clone())
        return super().logits(images)
