"""Learned Gaussian noise on a layer's weights, drawn anew at every forward pass: smoothed_models,
section 1.2.

    PNI (Rakin et al. 2018, arXiv:1811.09310):      w + a·s·ε
    CNI (Nemcovsky et al. 2020, arXiv:1911.07198):  w + sqrt(|d|·s)·ε + F·ε'

ε ~ N(0, 1) for every weight and ε' ~ N(0, I) of a few entries that all weights of the layer share;
s is the standard deviation of the layer's weights, with n - 1 in the denominator as in both cited
sources (a layer with a single weight has none, and no noise of it). a and d (one per weight) and F
(weights x rank) are learned. The |d|·s under the root, where a variance stands for a standard
deviation, is the cited authors'.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, ClassVar, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from kdray.core import OpenUnion, Value

_TINY = 1e-12  # of a variance: the root has no slope at 0


def independent(
    weight: Float[Tensor, "*N"], amplitude: Float[Tensor, "*N"], normal: Float[Tensor, "*N"]
) -> Float[Tensor, "*N"]:
    """The noise a·s·ε on ``weight`` of the draw ε ``normal``."""
    return amplitude * _spread(weight) * normal


def coloured(
    weight: Float[Tensor, "*N"],
    diagonal: Float[Tensor, "*N"],
    factor: Float[Tensor, "n R"],
    normal: Float[Tensor, "*N"],
    shared: Float[Tensor, "R"],
) -> Float[Tensor, "*N"]:
    """The noise sqrt(|d|·s)·ε + F·ε' on ``weight`` of the draws ε ``normal`` and ε' ``shared``; F
    has a row per weight."""
    deviation = (diagonal.abs() * _spread(weight)).clamp(min=_TINY).sqrt()
    return deviation * normal + (factor @ shared).view_as(weight)


def _spread(weight: Tensor) -> Tensor:
    """s, a constant: the noise grows with the weights, but no gradient makes weights small because
    of it."""
    if weight.numel() == 1:
        return torch.zeros_like(weight).squeeze()
    return weight.detach().std()


class WeightNoise(Value):
    """Noise on the weights of convolutions and linear layers, in training and in inference; biases
    have none."""

    paper: ClassVar[str]
    """Where the noise is written down."""

    amplitude: Annotated[float, Field(ge=0)] = 0.25
    """Every a at the start, where noise is independent; 0: it starts without."""

    @abstractmethod
    def on_convolution(self, weight: Tensor) -> nn.Module:
        """Return a module from the weights of a convolution (like ``weight``) to the noise on
        them, drawn from torch's global generator at every call; its parameters are learned."""

    def on_linear(self, weight: Tensor) -> nn.Module:
        """Return the same for a linear layer: independent noise, unless a member says else."""
        return IndependentNoise(weight, self.amplitude)


class IndependentNoise(nn.Module):
    """a·s·ε with its learned a."""

    def __init__(self, weight: Tensor, amplitude: float) -> None:
        super().__init__()
        self.amplitude = nn.Parameter(torch.full_like(weight, amplitude))

    def forward(self, weight: Tensor) -> Tensor:
        return independent(weight, self.amplitude, torch.randn_like(weight))


class ColouredNoise(nn.Module):
    """sqrt(|d|·s)·ε + F·ε' with its learned d and F."""

    def __init__(self, weight: Tensor, noise: Coloured) -> None:
        super().__init__()
        self.diagonal = nn.Parameter(torch.full_like(weight, noise.diagonal))
        self.factor = nn.Parameter(weight.new_full((weight.numel(), noise.rank), noise.factor))

    def forward(self, weight: Tensor) -> Tensor:
        normal, shared = torch.randn_like(weight), torch.randn_like(self.factor[0])
        return coloured(weight, self.diagonal, self.factor, normal, shared)


class Independent(WeightNoise):
    """Of every weight on its own: a·s·ε (PNI)."""

    version: ClassVar[int] = 2
    """1 had n in the denominator of s."""
    paper: ClassVar[str] = "smoothed_models section 1.2 (Rakin et al. 2018)"

    name: Literal["pni"] = "pni"

    def on_convolution(self, weight: Tensor) -> nn.Module:
        return IndependentNoise(weight, self.amplitude)


class Coloured(WeightNoise):
    """Diagonal plus low rank: sqrt(|d|·s)·ε + F·ε' in convolutions (CNI); a·s·ε in linear layers,
    as in PNI."""

    version: ClassVar[int] = 2
    """1 had n in the denominator of s."""
    paper: ClassVar[str] = "smoothed_models section 1.2 (Nemcovsky et al. 2020)"

    name: Literal["cni"] = "cni"
    diagonal: Annotated[float, Field(ge=0)] = 0.25**2
    """Every d at the start."""
    factor: float = 0.01
    """Every entry of F at the start."""
    rank: Annotated[int, Field(ge=1, le=1000)] = 5
    """Columns of F: draws that the weights of a layer share."""

    def on_convolution(self, weight: Tensor) -> nn.Module:
        return ColouredNoise(weight, self)


AnyWeightNoise = Annotated[Independent | Coloured, OpenUnion(WeightNoise)]
