"""Directions of vectors, where some have none."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor


def unit(vectors: Float[Tensor, "*shape"], dim: int) -> Float[Tensor, "*shape"]:
    """v/‖v‖ along ``dim``; 0 for v = 0, through which no gradient flows."""
    norm: Tensor = torch.linalg.vector_norm(vectors, dim=dim, keepdim=True)
    norm = norm.masked_fill(norm == 0, math.inf)
    return vectors / norm
