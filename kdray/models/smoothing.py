"""Smoothed inference: many passes of a model that draws, aggregated into one answer
(smoothed_models, sections 1.2 and 2).

    prediction        p_k = share of the M passes whose first class is k
    soft_prediction   p   = mean of softmax(z_m)
    logits            z   = mean of z_m

The first two answer log-probabilities, of exact shares: a class without a vote has the logarithm of
the smallest double, -708, which no temperature up to 20 makes visible (exp(-708/20) is 4e-16). Of
votes the *gradient* is that of the soft prediction (straight through), divided by the share of
votes or, of a class without a vote, by that of half a vote: that is what an attack or a
gradient-matching student follows. Passes are made one after the other and,
where a gradient is asked for, made again in the backward pass: M passes need no more memory than
one.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import torch
from jaxtyping import Float, Float64
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from kdray.core import Effort, Value
from kdray.models.base import Classifier, InputNoise, Network, Outputs

Aggregate = Literal["prediction", "soft_prediction", "logits"]


class Smoothing(Value):
    """M passes of a model that draws, and their aggregate."""

    version: ClassVar[int] = 2
    """1 floored shares of votes at 1/(2M), which a temperature of 4 makes 0.386 of 1."""
    paper: ClassVar[str] = (
        "smoothed_models sections 1.2 and 2 (Nemcovsky et al. 2020, Cohen et al. 2019)"
    )

    samples: Annotated[int, Field(ge=1, le=100_000), Effort(smoke=4, memory=2)]
    """M, the number of passes (512 in the paper)."""
    aggregate: Aggregate = "soft_prediction"
    sigma: Annotated[float, Field(ge=0)] = 0.0
    """Standard deviation of Gaussian noise on the image in every pass, beside whatever the model
    itself draws; 0: none."""


class SmoothedNetwork(Network):
    """Answers with the aggregate of many passes of ``classifier``; it has no stages."""

    def __init__(self, classifier: Classifier, smoothing: Smoothing) -> None:
        super().__init__()
        self.classifier = classifier
        self.smoothing = smoothing
        self.noise = InputNoise(smoothing.sigma) if smoothing.sigma > 0 else nn.Identity()

    def forward(self, images: Tensor) -> Outputs:
        samples, aggregate = self.smoothing.samples, self.smoothing.aggregate
        recompute = torch.is_grad_enabled() and images.requires_grad
        total: Tensor | None = None
        for _ in range(samples):
            one = (
                checkpoint(self._pass, images, use_reentrant=False)
                if recompute
                else self._pass(images)
            )
            total = one if total is None else total + one
        assert total is not None  # samples is at least 1
        mean = total / samples
        match aggregate:
            case "logits":
                logits = mean
            case "soft_prediction":
                logits = _log(mean)
            case "prediction":
                logits = _log_of_votes(mean, samples)
        logits = logits.float()
        return Outputs(logits, (), logits[:, :0])

    def _pass(self, images: Tensor) -> Tensor:
        """One pass as it is summed: probabilities as doubles, because the least likely class counts
        at high temperatures."""
        logits = self.classifier.logits(self.noise(images))
        match self.smoothing.aggregate:
            case "logits":
                return logits
            case "soft_prediction":
                return functional.softmax(logits.double(), dim=1)
            case "prediction":
                return vote(logits.double())


def vote(logits: Float[Tensor, "B K"]) -> Float[Tensor, "B K"]:
    """1 for the first class and 0 for the others, with the gradient of the softmax."""
    soft = functional.softmax(logits, dim=1)
    hard = functional.one_hot(logits.argmax(1), logits.shape[1]).to(logits.dtype)
    return hard + (soft - soft.detach())


def _log(probabilities: Float64[Tensor, "B K"]) -> Float64[Tensor, "B K"]:
    """The logarithm; of 0 that of the smallest double."""
    return probabilities.clamp(min=torch.finfo(torch.float64).tiny).log()


def _log_of_votes(shares: Float64[Tensor, "B K"], samples: int) -> Float64[Tensor, "B K"]:
    """The logarithm of ``shares`` of votes, with the slope of the shares over themselves (over half
    a vote where there is none)."""
    straight = shares / shares.detach().clamp(min=1 / (2 * samples))
    return _log(shares.detach()) + (straight - straight.detach())


def smoothed(classifier: Classifier, smoothing: Smoothing | None) -> Classifier:
    """``classifier`` as it answers under ``smoothing``; itself without."""
    if smoothing is None:
        return classifier
    # In the classifier's own mode: to be wrapped must not wake its batch norm up.
    return Classifier(SmoothedNetwork(classifier, smoothing), nn.Identity()).train(
        classifier.training
    )
