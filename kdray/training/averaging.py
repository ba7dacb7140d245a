"""Averages of a network's weights over its training, as values.

    ema    w̄ ← d·w̄ + (1 - d)·w                after every step (Polyak, Juditsky 1992; Tarvainen,
                                               Valpola 2017, arXiv:1703.01780)
    swa    w̄ ← w̄ + (w - w̄)/(n + 1)            after some epochs (Izmailov et al. 2018,
                                               arXiv:1803.05407, eq. 3)

The first weights are taken as they are, as torch's ``AveragedModel`` has it. That class itself is
not used, because it copies its count to the GPU in every step; its formulas and ``update_bn`` are.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn, get_swa_multi_avg_fn, update_bn

from kdray.core import Effort, Value
from kdray.models import Classifier

Mean = Callable[[list[Tensor], list[Tensor], int], Any]
"""Moves averaged tensors, of so many weights, towards the latest ones."""
_ROUNDING = 1e-9
"""Of a product of a fraction and a number of epochs."""


class AveragedClassifier:
    """A copy of a classifier whose weights are an average of those that it has had."""

    def __init__(self, classifier: Classifier, average: Average) -> None:
        self.classifier, self.average = deepcopy(classifier), average
        self.count = 0
        """Weights in the average."""

    def add(self, classifier: Classifier, mean: Mean) -> None:
        """Take the weights of ``classifier`` into the average."""
        ours = [parameter.detach() for parameter in self.classifier.parameters()]
        latest = [parameter.detach() for parameter in classifier.parameters()]
        if self.count:
            mean(ours, latest, self.count)
        else:
            for own, new in zip(ours, latest, strict=True):
                own.copy_(new)
        self.count += 1

    def settle(self, classifier: Classifier, batches: Iterator[Tensor]) -> None:
        """Compute the statistics of batch norm anew over ``batches``, every batch counting the
        same; all other buffers are those of ``classifier``."""
        buffers = dict(classifier.named_buffers())
        for name, own in self.classifier.named_buffers():
            own.copy_(buffers[name])
        update_bn(batches, self.classifier)


class Average(Value):
    """Which weights are averaged, and how."""

    version: ClassVar[int] = 2
    """1 drew the transforms of the pass for batch norm's statistics as those of a method's first
    earlier stage."""

    def after_step(self, averaged: AveragedClassifier, classifier: Classifier) -> None:
        """Take in the weights that a step of the last stage led to, if they count."""
        del averaged, classifier

    def after_epoch(
        self, averaged: AveragedClassifier, classifier: Classifier, done: int, epochs: int
    ) -> None:
        """Take in the weights after ``done`` of the last stage's ``epochs``, if they count."""
        del averaged, classifier, done, epochs

    @abstractmethod
    def check_fits(self, epochs: int) -> None:
        """Raise ValueError unless ``epochs`` are enough to average anything."""


class EMA(Average):
    """The exponential moving average over all steps of the last stage."""

    name: Literal["ema"] = "ema"
    decay: Annotated[float, Field(ge=0, lt=1)] = 0.999
    """d; 0: the latest weights, towards 1 those of the first step. About the last 1/(1 - d) steps
    count."""

    def after_step(self, averaged: AveragedClassifier, classifier: Classifier) -> None:
        averaged.add(classifier, get_ema_multi_avg_fn(self.decay))

    def check_fits(self, epochs: int) -> None:
        del epochs


class SWA(Average):
    """Stochastic weight averaging: the mean of the weights after every so many epochs."""

    name: Literal["swa"] = "swa"
    after: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """The fraction of the epochs of the last stage after which it begins; until then the network
    itself is measured."""
    every: Annotated[int, Field(ge=1), Effort(smoke=1)] = 1
    """Epochs from one network in the average to the next, the first so many after the beginning."""

    def after_epoch(
        self, averaged: AveragedClassifier, classifier: Classifier, done: int, epochs: int
    ) -> None:
        since = done - self.begins(epochs)
        if since > 0 and since % self.every == 0:
            averaged.add(classifier, get_swa_multi_avg_fn())

    def begins(self, epochs: int) -> int:
        """The number of epochs before it begins."""
        return math.floor(self.after * epochs + _ROUNDING)

    def check_fits(self, epochs: int) -> None:
        left = epochs - self.begins(epochs)
        if self.every > left:
            raise ValueError(
                f"average.every: {self.every} is more than the {left} of {epochs} epochs that "
                f"average.after: {self.after:g} leaves: no weights would be averaged"
            )


AnyAverage = Annotated[EMA | SWA, Field(discriminator="name")]
