"""Random noise on the student's input while the teacher sees the clean image.

"Soft Randomization" of noisy_collaboration, section 4.3, eq. 2: S sees x + δ, T sees x, with the
same δ in both terms of the loss and a fresh δ in every step. With ``cross_entropy`` it is that
paper's baseline without a teacher. The theory that the section cites covers noise of the
exponential family. Poisson noise and noise of a given signal-to-noise ratio are robust_student's
(table I, figure 2).
"""

from __future__ import annotations

from abc import abstractmethod
from math import sqrt
from typing import Annotated, ClassVar, Literal

import torch
from jaxtyping import Float32
from pydantic import Field, model_validator
from torch import Tensor

from kdray.core import Value

Sigma = Annotated[float, Field(ge=0)]
"""A standard deviation, for images in [0, 1]; 0 changes nothing."""
Unit = Literal["db", "ratio"]


def gaussian(
    images: Float32[Tensor, "B C H W"], sigma: float, draws: torch.Generator
) -> Float32[Tensor, "B C H W"]:
    """``images`` plus independent N(0, sigma²) on every pixel and channel; not clipped."""
    return images + sigma * torch.randn(images.shape, generator=draws, device=images.device)


def laplace(
    images: Float32[Tensor, "B C H W"], sigma: float, draws: torch.Generator
) -> Float32[Tensor, "B C H W"]:
    """``images`` plus independent Laplace noise of standard deviation ``sigma`` (scale sigma/√2);
    not clipped."""
    # The size is exponential, by inverse transform: rand is below 1, so the logarithm is finite.
    size = -torch.log1p(-torch.rand(images.shape, generator=draws, device=images.device))
    sign = 2 * torch.randint(0, 2, images.shape, generator=draws, device=images.device) - 1
    return images + sigma / sqrt(2) * sign * size


def uniform(
    images: Float32[Tensor, "B C H W"], sigma: float, draws: torch.Generator
) -> Float32[Tensor, "B C H W"]:
    """``images`` plus independent U(-√3·sigma, √3·sigma), of standard deviation ``sigma``; not
    clipped."""
    return images + sqrt(3) * sigma * (
        2 * torch.rand(images.shape, generator=draws, device=images.device) - 1
    )


def poisson(
    images: Float32[Tensor, "B C H W"], peak: float, draws: torch.Generator
) -> Float32[Tensor, "B C H W"]:
    """Poisson(x·peak)/peak for every value x of ``images``: mean x, variance x/peak; not
    clipped."""
    return torch.poisson(images * peak, generator=draws) / peak


def white_noise(
    images: Float32[Tensor, "B C H W"], snr: float, unit: Unit, draws: torch.Generator
) -> Float32[Tensor, "B C H W"]:
    """``images`` plus white Gaussian noise of variance mean(x²)/ratio, the mean over one image; not
    clipped.

    ``snr`` is the ratio of mean squares, or ten times its logarithm (``unit`` db).
    """
    ratio = 10 ** (snr / 10) if unit == "db" else snr
    sigma = (images.square().mean((1, 2, 3), keepdim=True) / ratio).sqrt()
    return images + sigma * torch.randn(images.shape, generator=draws, device=images.device)


class InputNoise(Value):
    """Noise on images in [0, 1]."""

    paper: ClassVar[str]
    """Where the noise is written down."""

    clip: bool = False
    """Clip the noisy image to [0, 1]; noisy_collaboration's eq. 2 does not, robust_student does not
    say."""

    def __call__(
        self, images: Float32[Tensor, "B C H W"], draws: torch.Generator
    ) -> Float32[Tensor, "B C H W"]:
        """``images`` with noise drawn from ``draws`` (a generator on their device)."""
        noisy = self.noisy(images, draws)
        return noisy.clamp(0, 1) if self.clip else noisy

    @abstractmethod
    def noisy(
        self, images: Float32[Tensor, "B C H W"], draws: torch.Generator
    ) -> Float32[Tensor, "B C H W"]:
        """The same, never clipped."""


class Gaussian(InputNoise):
    """x + δ, δ ~ N(0, σ²) (eq. 2); σ = 0 changes nothing."""

    paper: ClassVar[str] = "noisy_collaboration section 4.3, eq. 2; robust_student table I, G"

    name: Literal["gaussian"] = "gaussian"
    sigma: Sigma
    """Standard deviation, for images in [0, 1]."""

    def noisy(
        self, images: Float32[Tensor, "B C H W"], draws: torch.Generator
    ) -> Float32[Tensor, "B C H W"]:
        return gaussian(images, self.sigma, draws)


class Laplace(InputNoise):
    """x + δ, δ ~ Laplace(0, σ/√2): as strong as Gaussian noise of the same σ, with heavier
    tails."""

    paper: ClassVar[str] = "noisy_collaboration section 4.3 (Pinot et al. 2019)"

    name: Literal["laplace"] = "laplace"
    sigma: Sigma
    """Standard deviation, for images in [0, 1]; the distribution's scale is σ/√2."""

    def noisy(
        self, images: Float32[Tensor, "B C H W"], draws: torch.Generator
    ) -> Float32[Tensor, "B C H W"]:
        return laplace(images, self.sigma, draws)


class UniformNoise(InputNoise):
    """x + δ, δ ~ U(-√3·σ, √3·σ): as strong as Gaussian noise of the same σ, and bounded."""

    paper: ClassVar[str] = (
        "noisy_collaboration section 4.3 (for comparison: bounded, outside the theory that "
        "it cites)"
    )

    name: Literal["uniform"] = "uniform"
    sigma: Sigma
    """Standard deviation, for images in [0, 1]; no pixel moves by more than √3·σ."""

    def noisy(
        self, images: Float32[Tensor, "B C H W"], draws: torch.Generator
    ) -> Float32[Tensor, "B C H W"]:
        return uniform(images, self.sigma, draws)


class Poisson(InputNoise):
    """Poisson(x·peak)/peak: every value counts photons, so bright ones are noisier; black stays
    black."""

    paper: ClassVar[str] = "robust_student table I, P"

    name: Literal["poisson"] = "poisson"
    peak: Annotated[float, Field(gt=0)] = 255.0
    """Mean number of photons at white, where σ = 1/√peak (0.063 at 255; chosen, the paper gives
    none); the more, the less noise."""

    def noisy(
        self, images: Float32[Tensor, "B C H W"], draws: torch.Generator
    ) -> Float32[Tensor, "B C H W"]:
        return poisson(images, self.peak, draws)


class GaussianSNR(InputNoise):
    """x + δ, δ ~ N(0, mean(x²)/ratio): white Gaussian noise of one signal-to-noise ratio on every
    image."""

    paper: ClassVar[str] = "robust_student section V.B, figure 2"

    name: Literal["gaussian_snr"] = "gaussian_snr"
    snr: float
    """Signal-to-noise ratio before clipping; the higher, the less noise; 0 dB: as much noise as
    signal."""
    unit: Unit = "db"
    """db: ratio = 10^(snr/10); ratio: the quotient of the mean squares itself. They agree at 10;
    the paper does not say."""

    @model_validator(mode="after")
    def _is_a_ratio(self) -> GaussianSNR:
        if self.unit == "ratio" and self.snr <= 0:
            raise ValueError(f"snr: {self.snr} is no ratio (allowed: above 0, or unit db)")
        if self.unit == "db" and abs(self.snr) > 200:
            raise ValueError(f"snr: {self.snr} dB is out of range (allowed: -200 to 200)")
        return self

    def noisy(
        self, images: Float32[Tensor, "B C H W"], draws: torch.Generator
    ) -> Float32[Tensor, "B C H W"]:
        return white_noise(images, self.snr, self.unit, draws)
