"""Optimisers and learning-rate schedules, as values. A schedule is a pure function of the epoch, so
it needs no state."""

from __future__ import annotations

from abc import abstractmethod
from math import cos, pi
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import nn

from kdray.core import Several, Value

Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]


class Optimizer(Value):
    """Builds a torch optimiser."""

    learning_rate: Positive = 0.1
    """At the first epoch; the schedule multiplies it."""
    weight_decay: NotNegative = 0.0
    """L2 penalty added to the gradient (not decoupled)."""
    convolution_scale: Positive = 1.0
    """What the learning rate of convolutions is multiplied by: robust_student's 0.17 for linear and
    0.0085 for convolutional layers (section V.A) is ``learning_rate: 0.17, convolution_scale:
    0.05``."""

    @abstractmethod
    def build(self, module: nn.Module) -> torch.optim.Optimizer:
        """An optimiser without state for everything that ``module`` learns."""

    def set_rate(self, optimizer: torch.optim.Optimizer, factor: float) -> float:
        """Multiply the learning rate by the schedule's ``factor``; returns that of linear
        layers."""
        rate = self.learning_rate * factor
        for group in optimizer.param_groups:
            group["lr"] = rate * group["scale"]
        return rate


def groups(module: nn.Module, convolution_scale: float) -> list[dict[str, Any]]:
    """The parameters of ``module`` as groups of torch's optimisers, each with the ``scale`` of its
    learning rate."""
    if convolution_scale == 1:
        return [{"params": list(module.parameters()), "scale": 1.0}]
    convolutions = [p for m in module.modules() if isinstance(m, nn.Conv2d) for p in m.parameters()]
    inside = set(map(id, convolutions))
    rest = [p for p in module.parameters() if id(p) not in inside]
    listed = [{"params": rest, "scale": 1.0}, {"params": convolutions, "scale": convolution_scale}]
    return [group for group in listed if group["params"]]


def fuses(module: nn.Module) -> bool | None:
    """Whether a step is one kernel for many parameters: on a GPU, where each kernel costs a
    launch; none: torch's own way for a CPU, in whose bits the results on disk were computed."""
    return True if all(p.is_cuda for p in module.parameters()) else None


class SGD(Optimizer):
    """Stochastic gradient descent with momentum."""

    name: Literal["sgd"] = "sgd"
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    nesterov: bool = False

    def build(self, module: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.SGD(
            groups(module, self.convolution_scale),
            self.learning_rate,
            self.momentum,
            weight_decay=self.weight_decay,
            nesterov=self.nesterov and self.momentum > 0,
            fused=fuses(module),
        )


class Moments(Optimizer):
    """Steps by the gradient's running mean over the root of its running mean square."""

    learning_rate: Positive = 0.001
    beta1: Annotated[float, Field(ge=0, lt=1)] = 0.9
    beta2: Annotated[float, Field(ge=0, lt=1)] = 0.999


class Adam(Moments):
    """Adam (Kingma, Ba 2015)."""

    name: Literal["adam"] = "adam"

    def build(self, module: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.Adam(
            groups(module, self.convolution_scale),
            self.learning_rate,
            (self.beta1, self.beta2),
            weight_decay=self.weight_decay,
            fused=fuses(module),
        )


class AdamW(Moments):
    """Adam with decoupled weight decay (Loshchilov, Hutter 2019, arXiv:1711.05101, algorithm 2)."""

    name: Literal["adamw"] = "adamw"
    weight_decay: NotNegative = 0.01
    """What every weight loses in a step beside Adam's: this share of it, times the learning
    rate."""

    def build(self, module: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.AdamW(
            groups(module, self.convolution_scale),
            self.learning_rate,
            (self.beta1, self.beta2),
            weight_decay=self.weight_decay,
            fused=fuses(module),
        )


class Schedule(Value):
    """How the learning rate changes from epoch to epoch."""

    warmup: Annotated[int, Field(ge=0)] = 0
    """Epochs at the beginning in which the rate that the schedule gives is multiplied by
    1/(warmup + 1), 2/(warmup + 1), … (Goyal et al. 2017, section 2.2); 0: none."""

    def factor(self, epoch: int, epochs: int) -> float:
        """What the learning rate is multiplied by in the epoch with index ``epoch`` (from 0) of
        ``epochs``."""
        return min(1.0, (epoch + 1) / (self.warmup + 1)) * self.after_warmup(epoch, epochs)

    @abstractmethod
    def after_warmup(self, epoch: int, epochs: int) -> float:
        """The same of a schedule without warm-up."""


class Constant(Schedule):
    """No change."""

    name: Literal["constant"] = "constant"

    def after_warmup(self, epoch: int, epochs: int) -> float:  # noqa: ARG002
        return 1.0


class StepDecay(Schedule):
    """``gamma`` to the number of whole periods that are done (PyTorch's StepLR)."""

    name: Literal["step"] = "step"
    period: Annotated[int, Field(ge=1)]
    """Epochs."""
    gamma: Annotated[float, Field(gt=0, le=1)] = 0.1

    def after_warmup(self, epoch: int, epochs: int) -> float:  # noqa: ARG002
        return self.gamma ** (epoch // self.period)


class MultiStep(Schedule):
    """``gamma`` to the number of milestones reached; a milestone m acts from the epoch of index m
    on (m are done)."""

    name: Literal["multi_step"] = "multi_step"
    milestones: Several[Annotated[int, Field(ge=1)]]
    gamma: Annotated[float, Field(gt=0, le=1)] = 0.1

    def after_warmup(self, epoch: int, epochs: int) -> float:  # noqa: ARG002
        return self.gamma ** sum(epoch >= milestone for milestone in self.milestones)


class Cosine(Schedule):
    """Half a cosine from 1 towards 0 at the end (Loshchilov, Hutter 2017, without restarts)."""

    name: Literal["cosine"] = "cosine"

    def after_warmup(self, epoch: int, epochs: int) -> float:
        return (1 + cos(pi * epoch / epochs)) / 2


class OneCycle(Schedule):
    """Half a cosine up from ``1/initial`` to 1 over the first ``rise`` of the epochs, then half a
    cosine down to ``1/(initial·final)`` in the last one (Smith, Topin 2018; PyTorch's OneCycleLR
    with a step for each epoch, and the optimizer's learning rate as the highest)."""

    name: Literal["one_cycle"] = "one_cycle"
    rise: Annotated[float, Field(gt=0, lt=1)] = 0.3
    """Fraction of the epochs; the rate is highest at its end."""
    initial: Annotated[float, Field(ge=1)] = 25.0
    """The highest rate is so many times the first."""
    final: Annotated[float, Field(ge=1)] = 10_000.0
    """The first rate is so many times the last."""

    def after_warmup(self, epoch: int, epochs: int) -> float:
        if epochs == 1:
            return 1.0
        first = 1 / self.initial
        highest, last = self.rise * epochs - 1, epochs - 1
        if epoch <= highest:
            return _between(first, 1.0, epoch / highest if highest > 0 else 1.0)
        return _between(1.0, first / self.final, (epoch - highest) / (last - highest))


class Cyclic(Schedule):
    """Straight up from ``low`` to 1 in half a period and down again in the other half, over and
    over (Smith 2017, "triangular"; PyTorch's CyclicLR with a step for each epoch)."""

    name: Literal["cyclic"] = "cyclic"
    period: Annotated[int, Field(ge=2)] = 10
    """Epochs from one lowest rate to the next."""
    low: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """The lowest rate, as a fraction of the optimizer's."""

    def after_warmup(self, epoch: int, epochs: int) -> float:  # noqa: ARG002
        climbed = 1 - abs(2 * (epoch % self.period) / self.period - 1)
        return self.low + (1 - self.low) * climbed


def _between(start: float, end: float, part: float) -> float:
    """Half a cosine from ``start`` to ``end``."""
    return end + (start - end) * (1 + cos(pi * part)) / 2


AnyOptimizer = Annotated[SGD | Adam | AdamW, Field(discriminator="name")]
AnySchedule = Annotated[
    Constant | StepDecay | MultiStep | Cosine | OneCycle | Cyclic, Field(discriminator="name")
]
