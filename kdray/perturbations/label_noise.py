"""Random label corruption: noisy_collaboration, section 4.4.

"For each sample in the training process, with probability p, we randomly change the one hot encoded
target labels to an incorrect class", each epoch anew; its figure 12 fixes the corrupted labels
once. The other reading, a label redrawn from all classes, is ``symmetric``.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, ClassVar, Literal

import torch
from jaxtyping import Int64
from pydantic import Field
from torch import Tensor

from kdray.core import Value


def uniform_incorrect(
    labels: Int64[Tensor, "N"], rate: float, classes: int, draws: torch.Generator
) -> Int64[Tensor, "N"]:
    """``labels``, each replaced with probability ``rate`` by one of the ``classes - 1`` other
    classes, all equally likely."""
    chosen = torch.rand(len(labels), generator=draws) < rate
    shift = torch.randint(1, classes, (len(labels),), generator=draws)
    return torch.where(chosen, (labels + shift) % classes, labels)


def symmetric(
    labels: Int64[Tensor, "N"], rate: float, classes: int, draws: torch.Generator
) -> Int64[Tensor, "N"]:
    """``labels``, each replaced with probability ``rate`` by one of all ``classes``, its own among
    them."""
    chosen = torch.rand(len(labels), generator=draws) < rate
    return torch.where(chosen, torch.randint(0, classes, (len(labels),), generator=draws), labels)


class LabelNoise(Value):
    """Replaces labels of the training set before an epoch."""

    paper: ClassVar[str]
    """Where the noise is written down."""

    resample: Literal["epoch", "never"] = "epoch"
    """epoch: drawn anew every epoch (section 4.4); never: drawn once and kept (figure 12)."""

    @abstractmethod
    def __call__(
        self, labels: Int64[Tensor, "N"], classes: int, draws: torch.Generator
    ) -> Int64[Tensor, "N"]:
        """The labels to train on; ``labels`` and ``draws`` are the CPU's."""


class Uniform(LabelNoise):
    """To an incorrect class with probability ``rate``: p(ỹ = j | y) = rate / (K - 1) for j ≠ y."""

    paper: ClassVar[str] = "noisy_collaboration section 4.4"

    name: Literal["uniform"] = "uniform"
    rate: Annotated[float, Field(ge=0, le=1)]
    """Fraction of labels replaced; 0: none, 1: every label is wrong."""

    def __call__(
        self, labels: Int64[Tensor, "N"], classes: int, draws: torch.Generator
    ) -> Int64[Tensor, "N"]:
        return uniform_incorrect(labels, self.rate, classes, draws)


class Symmetric(LabelNoise):
    """Redrawn from all classes with probability ``rate``: p(ỹ = j | y) = rate / K for j ≠ y, 1 -
    rate + rate / K for j = y."""

    paper: ClassVar[str] = (
        "noisy_collaboration section 4.4, as label noise is often defined elsewhere"
    )

    name: Literal["symmetric"] = "symmetric"
    rate: Annotated[float, Field(ge=0, le=1)]
    """Fraction of labels redrawn, of which one in K stays right; 0: none, 1: labels say nothing of
    the images."""

    def __call__(
        self, labels: Int64[Tensor, "N"], classes: int, draws: torch.Generator
    ) -> Int64[Tensor, "N"]:
        return symmetric(labels, self.rate, classes, draws)
