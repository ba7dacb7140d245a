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

from typing import Annotated, ClassVar, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

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


class Independent(WeightNoise):
    """Of every weight on its own: a·s·ε (PNI)."""

    version: ClassVar[int] = 2
    """1 had n in the denominator of s."""
    paper: ClassVar[str] = "smoothed_models section 1.2 (Rakin et al. 2018)"

    name: Literal["pni"] = "pni"


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


AnyWeightNoise = Annotated[Independent | Coloured, OpenUnion(WeightNoise)]
