"""Drops of water or mud on the lens.

Hendrycks & Dietterich 2019 (the validation set's corruptions); constants for 32 x 32 from
``make_cifar_c.py`` of hendrycks/robustness (commit 8190fe3), where the water's relief is made of
OpenCV's Canny edges (thresholds 50 and 150), distances to them, and equalised histograms. Lengths
are in pixels and grow with the image (:func:`pixels`).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from kdray.perturbations.corruptions.operators import (
    Images,
    Layer,
    convolved,
    gaussian_blur,
    normal,
    painted,
    pixels,
)

SPATTER = (
    (0.62, 0.1, 0.7, 0.70, 0.5),
    (0.65, 0.1, 0.8, 0.70, 0.5),
    (0.65, 0.3, 1.0, 0.69, 0.5),
    (0.65, 0.1, 0.7, 0.69, 0.6),
    (0.65, 0.1, 0.5, 0.68, 0.6),
)
"""Mean and standard deviation of noise, its smoothness, what of it is liquid; how strong water is
(severities 1 to 3), how smooth the edge of mud (4 and 5)."""
WATER = (175 / 255, 238 / 255, 238 / 255)
MUD = (63 / 255, 42 / 255, 20 / 255)
_LOW, _HIGH, _FAR = 50, 150, 20
_SOBEL = ((-1.0, 0.0, 1.0), (-2.0, 0.0, 2.0), (-1.0, 0.0, 1.0))
_EMBOSS = ((-2.0, -1.0, 0.0), (-1.0, 1.0, 1.0), (0.0, 1.0, 2.0))
_STRAIGHT, _DIAGONAL, _KNIGHT = 1.0, 1.4, 2.1969  # lengths of steps in OpenCV's 5 x 5 distance


def spatter(images: Images, severity: int, draws: torch.Generator) -> Images:
    """x + strength·relief·colour of water, or x·(1 - mask) + mask·colour of mud."""
    mean, spread, smoothness, threshold, strength = SPATTER[severity - 1]
    scale = pixels(images)
    noise = normal(len(images), 1, *images.shape[-2:], draws=draws, device=images.device)
    # Blurring over more pixels makes the noise weaker; so that as much of it is liquid, it starts
    # stronger.
    liquid = gaussian_blur(mean + scale * spread * noise, scale * smoothness)
    liquid = liquid.masked_fill(liquid < threshold, 0)
    if severity <= 3:
        levels = (liquid * 255).floor().clamp(max=255)
        relief = levels * _relief(levels, scale)
        highest = relief.amax((2, 3), keepdim=True).clamp(min=1)
        return images + painted(strength * relief / highest, WATER, images)
    mask = gaussian_blur((liquid > threshold).float(), scale * strength)
    mask = mask.masked_fill(mask < 0.8, 0)
    return images * (1 - mask) + painted(mask, MUD, images)


def _relief(levels: Layer, scale: float) -> Layer:
    """Levels 0 to 255 of light on drops: the equalised distance to their edges, embossed and
    smoothed."""
    flat = equalised(_mean3(distance(edges(levels), _FAR * scale)).add(1e-4).floor())
    return _mean3(convolved(flat, torch.tensor(_EMBOSS)).clamp_(0, 255)).round()


def _mean3(layer: Layer) -> Layer:
    return functional.avg_pool2d(functional.pad(layer, (1,) * 4, mode="reflect"), 3, 1)


def edges(levels: Layer) -> Tensor:
    """Canny's edges, as bool: Sobel gradients by |x| + |y|, the greatest across the edge, strong or
    joined to strong."""
    sobel = torch.tensor(_SOBEL)
    right, down = (convolved(levels, kernel, edge="replicate") for kernel in (sobel, sobel.T))
    across, along = right.abs(), down.abs()
    size = across + along
    padded = functional.pad(size, (1,) * 4)
    height, width = size.shape[-2:]

    def beside(dy: int, dx: int) -> Tensor:
        return padded[:, :, 1 + dy : 1 + dy + height, 1 + dx : 1 + dx + width]

    level, upright = along < 0.41421356 * across, along > 2.41421356 * across
    horizontal = (size > beside(0, -1)) & (size >= beside(0, 1))
    vertical = (size > beside(-1, 0)) & (size >= beside(1, 0))
    falling = (size > beside(-1, -1)) & (size > beside(1, 1))
    rising = (size > beside(-1, 1)) & (size > beside(1, -1))
    diagonal = torch.where((right < 0) == (down < 0), falling, rising)
    ridge = torch.where(level, horizontal, torch.where(upright, vertical, diagonal))
    weak, strong = ridge & (size > _LOW), ridge & (size > _HIGH)
    while True:
        joined = weak & _spread(_spread(strong, 2), 3)
        if torch.equal(joined, strong):
            return strong
        strong = joined


def _spread(marked: Tensor, axis: int) -> Tensor:
    """What is marked, or beside something that is, along ``axis``."""
    out = marked.clone()
    size = marked.shape[axis]
    out.narrow(axis, 1, size - 1).logical_or_(marked.narrow(axis, 0, size - 1))
    out.narrow(axis, 0, size - 1).logical_or_(marked.narrow(axis, 1, size - 1))
    return out


def distance(marked: Tensor, far: float) -> Layer:
    """From every pixel to the nearest marked one, at most ``far``, in steps to the 5 x 5
    neighbourhood (OpenCV's lengths).

    A shortest way is steps along the row of the marked pixel, then steps that all go down, or all
    go up.
    """
    height, width = marked.shape[-2:]
    x = torch.arange(width, device=marked.device, dtype=torch.float32)
    before = torch.where(marked, x, -torch.inf).cummax(3).values
    after = torch.where(marked, x, torch.inf).flip(3).cummin(3).values.flip(3)
    out = torch.minimum(x - before, after - x).clamp_(max=far)
    rows = list(functional.pad(out[:, 0], (2, 2), value=far).unbind(1))
    for way in (range(height), range(height - 1, -1, -1)):
        previous: list[Tensor] = []
        for y in way:
            row = rows[y][:, 2:-2]
            for i, other in enumerate(previous[-1:-3:-1]):
                steps = (
                    (_KNIGHT, _DIAGONAL, _STRAIGHT, _DIAGONAL, _KNIGHT)
                    if i == 0
                    else (0, _KNIGHT, 0, _KNIGHT, 0)
                )
                for dx, length in enumerate(steps):
                    if length:
                        torch.minimum(row, other[:, dx : dx + width] + length, out=row)
            previous.append(rows[y])
    return torch.stack([row[:, 2:-2] for row in rows], 1)[:, None]


def equalised(levels: Layer) -> Layer:
    """Levels 0 to 255, moved so that each image has about as many pixels in every range of the same
    length."""
    flat = levels.flatten(1).long()
    counts = torch.zeros(len(flat), 256, device=levels.device).scatter_add_(
        1, flat, torch.ones_like(flat).float()
    )
    lowest = counts.gather(1, flat.amin(1, keepdim=True))
    others = flat.shape[1] - lowest
    table = ((counts.cumsum(1) - lowest) * (255 / others.clamp(min=1))).round().clamp_(min=0)
    # An image of one level stays as it is.
    return torch.where(others > 0, table.gather(1, flat), flat.float()).view_as(levels)
