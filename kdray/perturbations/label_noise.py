"""Random label corruption: noisy_collaboration, section 4.4, and the standard kinds of noise that
depend on the class.

"For each sample in the training process, with probability p, we randomly change the one hot encoded
target labels to an incorrect class", each epoch anew; its figure 12 fixes the corrupted labels
once. The other reading, a label redrawn from all classes, is ``symmetric``. ``pair_flip``,
``asymmetric`` and ``transition`` are the kinds that learning with noisy labels compares itself on.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

import torch
from jaxtyping import Float64, Int64
from pydantic import Field, model_validator
from torch import Tensor

from kdray.core import Several, Value


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


def by_transition(
    labels: Int64[Tensor, "N"], matrix: Float64[Tensor, "K K"], draws: torch.Generator
) -> Int64[Tensor, "N"]:
    """``labels``, each y redrawn from row y of ``matrix``, whose rows sum to 1."""
    ends = matrix.cumsum(1)
    ends[:, -1] = 1.0  # whatever the sum was rounded to
    drawn = torch.rand(len(labels), generator=draws, dtype=torch.float64)
    return (drawn[:, None] >= ends[labels]).sum(1)


def _needs_another(classes: int, omitted: Sequence[int]) -> str | None:
    left = classes - len(omitted)
    return None if left > 1 else "name: of one class no label is wrong; train on two or more"


class LabelNoise(Value):
    """Replaces labels of the training set before an epoch."""

    paper: ClassVar[str]
    """Where the noise is written down."""
    names_classes: ClassVar[bool] = False
    """Whether its fields speak of classes by number; otherwise only classes count that there are
    training images of."""

    resample: Literal["epoch", "never"] = "epoch"
    """epoch: drawn anew every epoch (section 4.4); never: drawn once and kept (figure 12)."""

    def misfit(self, classes: int, omitted: Sequence[int]) -> str | None:
        """Why it cannot be the noise of data with so many ``classes``, of which those ``omitted``
        have no training images: the field, what is wrong, what is allowed; none if it can."""
        del classes, omitted
        return None

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

    def misfit(self, classes: int, omitted: Sequence[int]) -> str | None:
        return _needs_another(classes, omitted)

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


class PairFlip(LabelNoise):
    """To the next class with probability ``rate``: p(ỹ = y + 1 mod K | y) = rate."""

    paper: ClassVar[str] = "Han et al. 2018, Co-teaching, arXiv:1804.06872, appendix A"

    name: Literal["pair_flip"] = "pair_flip"
    rate: Annotated[float, Field(ge=0, le=1)]
    """Fraction of labels replaced; 0: none, 1: every label is that of the next class."""

    def misfit(self, classes: int, omitted: Sequence[int]) -> str | None:
        return _needs_another(classes, omitted)

    def __call__(
        self, labels: Int64[Tensor, "N"], classes: int, draws: torch.Generator
    ) -> Int64[Tensor, "N"]:
        chosen = torch.rand(len(labels), generator=draws) < self.rate
        return torch.where(chosen, (labels + 1) % classes, labels)


class Asymmetric(LabelNoise):
    """From certain classes to the one each is mistaken for, with probability ``rate``; the labels
    of all other classes stay."""

    paper: ClassVar[str] = (
        "Patrini et al. 2017, arXiv:1609.03683, section 5 (CIFAR-10: pairs: [[9, 1], [2, 0], "
        "[4, 7], [3, 5], [5, 3]])"
    )
    names_classes: ClassVar[bool] = True

    name: Literal["asymmetric"] = "asymmetric"
    rate: Annotated[float, Field(ge=0, le=1)]
    """Fraction of the labels of each of these classes that are replaced; 0: none, 1: all."""
    pairs: Annotated[Several[Several[Annotated[int, Field(ge=0)]]], Field(min_length=1)]
    """[class, the class that it becomes], by number from 0."""

    @model_validator(mode="after")
    def _is_a_map(self) -> Asymmetric:
        for pair in self.pairs:
            if len(pair) != 2 or pair[0] == pair[1]:
                raise ValueError(f"pairs: {list(pair)} must be two different classes")
        first = [pair[0] for pair in self.pairs]
        for number in first:
            if first.count(number) > 1:
                raise ValueError(f"pairs: class {number} becomes two classes")
        return self

    def misfit(self, classes: int, omitted: Sequence[int]) -> str | None:
        for before, after in self.pairs:
            for number in (before, after):
                if number >= classes:
                    return f"pairs: there is no class {number} (allowed: 0 to {classes - 1})"
            if after in omitted and before not in omitted:
                return f"pairs: class {after} is left out of training (data.omit_classes)"
        return None

    def __call__(
        self, labels: Int64[Tensor, "N"], classes: int, draws: torch.Generator
    ) -> Int64[Tensor, "N"]:
        becomes = torch.arange(classes)
        for before, after in self.pairs:
            becomes[before] = after
        chosen = torch.rand(len(labels), generator=draws) < self.rate
        return torch.where(chosen, becomes[labels], labels)


class Transition(LabelNoise):
    """Redrawn from a row of a matrix: p(ỹ = j | y = i) = ``matrix[i][j]``."""

    paper: ClassVar[str] = "Patrini et al. 2017, arXiv:1609.03683, section 2 (the matrix T)"
    names_classes: ClassVar[bool] = True

    name: Literal["transition"] = "transition"
    matrix: Annotated[
        Several[Several[Annotated[float, Field(ge=0, le=1)]]], Field(min_length=2, max_length=1000)
    ]
    """K rows of K probabilities; each row sums to 1 (within 1e-6)."""

    @model_validator(mode="after")
    def _is_stochastic(self) -> Transition:
        for number, row in enumerate(self.matrix):
            if len(row) != len(self.matrix):
                raise ValueError(
                    f"matrix: row {number} has {len(row)} numbers, needs {len(self.matrix)}"
                )
            if abs(sum(row) - 1) > 1e-6:
                raise ValueError(f"matrix: row {number} sums to {sum(row):g}, needs 1")
        return self

    def misfit(self, classes: int, omitted: Sequence[int]) -> str | None:
        if len(self.matrix) != classes:
            return f"matrix: has {len(self.matrix)} rows, needs one for each of {classes} classes"
        for before, row in enumerate(self.matrix):
            for after in omitted:
                if before not in omitted and row[after]:
                    return (
                        f"matrix: row {before} gives class {after}, which is left out of training "
                        "(data.omit_classes)"
                    )
        return None

    def __call__(
        self, labels: Int64[Tensor, "N"], classes: int, draws: torch.Generator
    ) -> Int64[Tensor, "N"]:
        del classes
        return by_transition(labels, torch.tensor(self.matrix, dtype=torch.float64), draws)
