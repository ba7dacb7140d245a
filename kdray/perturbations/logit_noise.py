"""Random changes of the teacher's logits: noisy_collaboration, section 4.1 (eq. 1) and appendix
A.4.

    signal-dependent:  ẑ_i = (1 + δ_i)·z_i,  δ_i ~ N(0, σ²) random swapping:   with probability p
    per sample, neighbours in the ranking of softmax(z/τ) change places where they
                       differ by less than a threshold

Swapping softened probabilities is swapping logits, because softmax does not care for the order of
its arguments: the changed logits are a permutation of the given ones, at any temperature.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, ClassVar, Literal

import torch
from jaxtyping import Bool, Float, Int64
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from kdray.core import Value

Per = Literal["logit", "sample"]
Which = Literal["top2", "all"]


def signal_dependent(
    logits: Float[Tensor, "B K"], sigma: float, per: Per, draws: torch.Generator
) -> Float[Tensor, "B K"]:
    """(1 + δ)·z with δ ~ N(0, sigma²), one for each logit or one for each sample (row)."""
    shape = logits.shape if per == "logit" else (len(logits), 1)
    return (
        1 + sigma * torch.randn(shape, generator=draws, device=logits.device, dtype=logits.dtype)
    ) * logits


def swap_sources(
    probabilities: Float[Tensor, "B K"], chosen: Bool[Tensor, "B"], threshold: float, which: Which
) -> Int64[Tensor, "B K"]:
    """For every class the class whose value it gets, in rows that are ``chosen``; the class itself
    in others.

    Ranks 1 and 2 swap if they differ by less than ``threshold``; ``all`` goes on with ranks 2 and 3
    as they then are, and so to the last: a value can travel.
    """
    ranked, order = probabilities.detach().sort(dim=1, descending=True, stable=True)
    values, sources = list(ranked.unbind(1)), list(order.unbind(1))
    for upper in range(1 if which == "top2" else len(values) - 1):
        swap = chosen & (values[upper] - values[upper + 1] < threshold)
        for row in (values, sources):
            row[upper], row[upper + 1] = (
                torch.where(swap, row[upper + 1], row[upper]),
                torch.where(swap, row[upper], row[upper + 1]),
            )
    return torch.empty_like(order).scatter(1, order, torch.stack(sources, 1))


class LogitNoise(Value):
    """A change of a teacher's logits, drawn anew for every sample and step."""

    paper: ClassVar[str]
    """Where the noise is written down."""

    @abstractmethod
    def __call__(
        self, logits: Float[Tensor, "B K"], temperature: float, draws: torch.Generator
    ) -> Float[Tensor, "B K"]:
        """The changed ``logits``, which the method will divide by ``temperature``; ``draws`` is on
        their device."""


class SignalDependent(LogitNoise):
    """ẑ_i = (1 + δ_i)·z_i, δ_i ~ N(0, σ²) (eq. 1); σ = 0 changes nothing. The same on z as on z/τ.

    In proportion to the logits as they are given: those of a smoothed or virtual teacher are
    log-probabilities or probabilities, and the noise is as large as these.
    """

    paper: ClassVar[str] = "noisy_collaboration section 4.1, eq. 1"

    name: Literal["signal_dependent"] = "signal_dependent"
    sigma: Annotated[float, Field(ge=0)]
    """Standard deviation relative to each logit (the paper's 0 to 0.5)."""
    per: Per = "logit"
    """logit: a δ for every logit; sample: one for all logits of a sample, which only rescales its
    temperature. The text leaves it open."""

    def __call__(
        self, logits: Float[Tensor, "B K"], temperature: float, draws: torch.Generator
    ) -> Float[Tensor, "B K"]:
        del temperature
        return signal_dependent(logits, self.sigma, self.per, draws)


class Swap(LogitNoise):
    """With probability p per sample, swaps neighbours in the ranking of softmax(z/τ) that differ by
    less than a threshold."""

    paper: ClassVar[str] = "noisy_collaboration appendix A.4"

    name: Literal["swap"] = "swap"
    which: Which = "top2"
    """top2: the two largest; all: ranks 1-2, 2-3, … in one pass, each on what the one before
    left."""
    probability: Annotated[float, Field(ge=0, le=1)]
    """p that a sample is considered; 0: none, 1: all. The paper does not give it."""
    threshold: Annotated[float, Field(ge=0)]
    """On the difference of softened probabilities, strictly; 0: nothing swaps, above 1: whatever is
    considered does. The paper does not give it."""

    def __call__(
        self, logits: Float[Tensor, "B K"], temperature: float, draws: torch.Generator
    ) -> Float[Tensor, "B K"]:
        chosen = torch.rand(len(logits), generator=draws, device=logits.device) < self.probability
        probabilities = functional.softmax(logits / temperature, dim=1)
        return logits.gather(1, swap_sources(probabilities, chosen, self.threshold, self.which))
