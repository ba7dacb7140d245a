"""What several corruptions are made of: draws on any device, lengths in pixels, Gaussian and
directional blur, 8 bits."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, exp
from typing import Literal

import torch
from jaxtyping import Float32
from torch import Tensor
from torch.nn import functional

Images = Float32[Tensor, "N C H W"]
Layer = Float32[Tensor, "N 1 H W"]
Colour = tuple[float, float, float]
"""Red, green and blue, 0 to 1."""
SIDE = 32
"""The side of the images that CIFAR-C's constants are for."""
LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in a grey value (ITU-R BT.601)."""
_ROUNDING = 1e-4  # of a level: float32 has 254.99997 where the level is 255


def pixels(images: Images) -> float:
    """How many pixels of ``images`` are one of a 32 x 32 image: the shorter side / 32, and 1 for
    smaller ones.

    Below 32 pixels a length of CIFAR-C's would be a fraction of a pixel, and its blurs would do
    nothing.
    """
    return max(1.0, min(images.shape[-2:]) / SIDE)


def truncated(images: Images) -> Images:
    """``images`` clipped to [0, 1], each value moved down to a multiple of 1/255."""
    return images.clamp(0, 1).mul_(255).add_(_ROUNDING).floor_().div_(255)


def rounded(images: Images) -> Images:
    """``images`` clipped to [0, 1], each value moved to the nearest multiple of 1/255, up from the
    middle."""
    return images.clamp(0, 1).mul_(255).add_(0.5 + _ROUNDING).floor_().div_(255)


def normal(*shape: int, draws: torch.Generator, device: torch.device) -> Tensor:
    """N(0, 1), drawn where ``draws`` is and moved to ``device``."""
    return torch.randn(shape, generator=draws, device=draws.device).to(device)


def uniform(
    low: float, high: float, *shape: int, draws: torch.Generator, device: torch.device
) -> Tensor:
    """U(low, high), drawn where ``draws`` is and moved to ``device``."""
    return torch.empty(shape, device=draws.device).uniform_(low, high, generator=draws).to(device)


def luma(images: Images) -> Layer:
    """The grey value of every pixel; of grey images, they themselves."""
    if images.shape[1] == 1:
        return images
    return (images * torch.tensor(LUMA, device=images.device).view(1, 3, 1, 1)).sum(1, keepdim=True)


def painted(layer: Layer, colour: Colour, images: Images) -> Images:
    """``layer`` times ``colour``, or times its grey value if ``images`` are grey."""
    grey = sum(weight * part for weight, part in zip(LUMA, colour, strict=True))
    parts = colour if images.shape[1] == 3 else (grey,)
    return layer * torch.tensor(parts, device=images.device).view(1, -1, 1, 1)


def nearest(index: Tensor, size: int) -> Tensor:
    """An index outside of 0 to size - 1 as the nearest one inside: the edge goes on."""
    return index.clamp(0, size - 1)


def mirrored(index: Tensor, size: int) -> Tensor:
    """An index outside of 0 to size - 1 as its mirror image in the edge, which itself is
    doubled."""
    folded = index.remainder(2 * size)
    return torch.minimum(folded, 2 * size - 1 - folded)


def gaussian_blur(
    images: Images,
    sigma: float,
    *,
    edge: Callable[[Tensor, int], Tensor] = nearest,
    reach: float = 4.0,
) -> Images:
    """``images`` convolved with a Gaussian of standard deviation ``sigma`` pixels, cut off at
    ``reach`` sigma."""
    rows, columns = (
        _gaussian_matrix(size, sigma, edge, reach).to(images.device) for size in images.shape[-2:]
    )
    return along(images, rows, columns)


def along(
    images: Images, rows: Float32[Tensor, "h H"], columns: Float32[Tensor, "w W"]
) -> Float32[Tensor, "N C h w"]:
    """A separable linear map: ``rows @ image @ columns.T`` for every channel."""
    return rows @ (images @ columns.T)


def _gaussian_matrix(
    size: int, sigma: float, edge: Callable[[Tensor, int], Tensor], reach: float
) -> Tensor:
    radius = int(reach * sigma + 0.5)
    if radius == 0:
        return torch.eye(size)
    offsets = torch.arange(-radius, radius + 1)
    weights = torch.exp(-0.5 * (offsets / sigma) ** 2)
    sources = edge(torch.arange(size)[:, None] + offsets, size)
    return torch.zeros(size, size).scatter_add_(
        1, sources, (weights / weights.sum()).expand(size, -1)
    )


def convolved(
    images: Images,
    kernel: Float32[Tensor, "k k"],
    *,
    edge: Literal["reflect", "replicate"] = "reflect",
) -> Images:
    """Every pixel the sum of those around it, weighted by ``kernel`` as it stands (a
    correlation)."""
    reach = len(kernel) // 2
    padded = functional.pad(images, (reach,) * 4, mode=edge)
    windows = padded.unfold(2, images.shape[2], 1).unfold(3, images.shape[3], 1)
    out = torch.zeros_like(images)
    # A convolution with few channels and a small kernel: this is three times as fast as torch's on
    # a CPU.
    for down, right in kernel.nonzero().tolist():
        out.add_(windows[:, :, down, right], alpha=float(kernel[down, right]))
    return out


def enlarged_size(side: int, factor: float) -> tuple[int, int]:
    """How many pixels in the middle of ``side`` are enlarged by ``factor``, and to how many."""
    crop = ceil(side / factor)
    return crop, round(crop * factor)


def middle_enlarged(images: Images, rows: tuple[int, int], columns: tuple[int, int]) -> Images:
    """The middle rows and columns enlarged linearly, corner to corner, and cut to the size of
    ``images``."""
    down, right = (
        _enlarging_matrix(side, *sizes).to(images.device)
        for side, sizes in zip(images.shape[-2:], (rows, columns), strict=True)
    )
    return along(images, down, right)


def _enlarging_matrix(size: int, crop: int, enlarged: int) -> Tensor:
    steps = torch.arange(size, dtype=torch.float64) + (enlarged - size) // 2
    places = (size - crop) // 2 + steps * ((crop - 1) / (enlarged - 1))
    return (1 - (places[:, None] - torch.arange(size)).abs()).clamp_(min=0).float()


def moved(images: Images, *, radius: float, sigma: float, angles: Float32[Tensor, "N"]) -> Images:
    """``images`` smeared along a direction of their own (radians), as ImageMagick's motion blur
    does.

    Σ_i w_i x(p + d_i) for i = 0 to 2·ceil(radius), w_i ∝ exp(-i²/2σ²), d_i = ceil(i (cos, sin) -
    1/2): one-sided, in whole pixels; the edge goes on. Cut off at 8 bits, as what ImageMagick
    returns is.
    """
    count, (height, width) = len(images), images.shape[-2:]
    taps = [exp(-0.5 * (i / sigma) ** 2) for i in range(2 * ceil(radius) + 1)]
    weights = [
        tap / sum(taps) for tap in taps if tap > 1e-4
    ]  # what is left out is a fortieth of a level
    weights[0] += 1 - sum(weights)
    reach = len(weights)
    windows = (
        functional.pad(images, (reach,) * 4, mode="replicate")
        .unfold(2, height, 1)
        .unfold(3, width, 1)
    )
    across, down = torch.cos(angles), torch.sin(angles)
    every = torch.arange(count, device=images.device)
    out = torch.zeros_like(images)
    for i, weight in enumerate(weights):
        right, below = (torch.ceil(i * part - 0.5).long() + reach for part in (across, down))
        out.add_(windows[every, :, below, right], alpha=weight)
    return truncated(out)
