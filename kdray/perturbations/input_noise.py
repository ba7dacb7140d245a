"""Random noise on the student's input while the teacher sees the clean image.

"Soft Randomization" of noisy_collaboration, section 4.3, eq. 2: S sees x + δ, T sees x, with the same δ in both terms of
the loss and a fresh δ in every step. With ``cross_entropy`` it is that paper's baseline without a teacher.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, Literal

import torch
from jaxtyping import Float32
from pydantic import Field
from torch import Tensor

from kdray.core import Value


def gaussian(images: Float32[Tensor, "B C H W"], sigma: float, draws: torch.Generator) -> Float32[Tensor, "B C H W"]:
    """``images`` plus independent N(0, sigma²) on every pixel and channel; not clipped."""
    return images + sigma * torch.randn(images.shape, generator=draws, device=images.device)


class InputNoise(Value):
    """Additive noise on images in [0, 1]."""

    @abstractmethod
    def __call__(self, images: Float32[Tensor, "B C H W"], draws: torch.Generator) -> Float32[Tensor, "B C H W"]:
        """``images`` with noise drawn from ``draws`` (a generator on their device)."""


class Gaussian(InputNoise):
    """x + δ, δ ~ N(0, σ²) (eq. 2); σ = 0 changes nothing."""

    name: Literal["gaussian"] = "gaussian"
    sigma: Annotated[float, Field(ge=0)]
    """Standard deviation, for images in [0, 1]."""
    clip: bool = False
    """Clip the noisy image to [0, 1]; the paper's eq. 2 does not."""

    def __call__(self, images: Float32[Tensor, "B C H W"], draws: torch.Generator) -> Float32[Tensor, "B C H W"]:
        noisy = gaussian(images, self.sigma, draws)
        return noisy.clamp(0, 1) if self.clip else noisy
