"""Blurs: out of focus, through frosted glass, by motion, by zooming, Gaussian.

Hendrycks & Dietterich 2019, section 3; constants for 32 x 32 from ``make_cifar_c.py`` of
hendrycks/robustness (commit 8190fe3). Lengths are in pixels and grow with the image
(:func:`pixels`).
"""

from __future__ import annotations

from collections import Counter
from math import pi

import torch
from torch.nn import functional

from kdray.perturbations.corruptions import operators
from kdray.perturbations.corruptions.operators import (
    Images,
    convolved,
    enlarged_size,
    middle_enlarged,
    moved,
    pixels,
    truncated,
    uniform,
)

DEFOCUS = ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1.0, 0.2), (1.5, 0.1))
"""Radius of the disk, and the standard deviation that softens it."""
GLASS = ((0.05, 1), (0.25, 1), (0.4, 1), (0.25, 2), (0.4, 2))
"""Standard deviation of the blur before and after; how often pixels are moved, by up to one
pixel."""
MOTION = ((6, 1.0), (6, 1.5), (6, 2.0), (8, 2.0), (9, 2.5))
"""Radius and standard deviation."""
ZOOM_FACTORS = (7, 12, 16, 21, 26)
"""How many of 1, 1.01, 1.02, ... (the reference's ``arange`` includes the end for 1.06 and 1.11 and
not for the others)."""
_ZOOM_STEP = (
    1.01 - 1
)  # as arange has it: 1 + 25 steps is a bit above 1.25, and 26 pixels become 33, not 32
GAUSSIAN_SIGMA = (0.4, 0.6, 0.7, 0.8, 1.0)


def defocus_blur(images: Images, severity: int) -> Images:
    """Convolved with a disk; the edge is mirrored.

    The disk is the pixels whose centre it covers, so at a radius below 1 one pixel, and all blur is
    the softening.
    """
    scale = pixels(images)
    radius, softness = (scale * length for length in DEFOCUS[severity - 1])
    extra = round(scale)
    reach = int(radius) + extra
    x = torch.arange(-reach, reach + 1)
    disk = (x[:, None] ** 2 + x**2 <= radius**2).float()
    soft = torch.exp(-0.5 * (torch.arange(-extra, extra + 1) / softness) ** 2)
    soften = torch.outer(soft, soft)
    kernel = functional.conv2d(disk[None, None], soften[None, None], padding="same")[0, 0] / (
        disk.sum() * soften.sum()
    )
    return convolved(images, kernel)


def glass_blur(images: Images, severity: int, draws: torch.Generator) -> Images:
    """Gaussian blur, then every pixel takes the value of one that is near it, then Gaussian blur.

    It comes from up to d pixels above and to the left, each drawn from 0 to d; d = round(side /
    32), and 1 for smaller images; the first d + 1 rows and columns keep theirs. The paper speaks of
    swapping pixels, but the reference's swap is of views of one array, so that one of the two keeps
    its value: this is what CIFAR-10-C has.
    """
    sigma, times = GLASS[severity - 1]
    scale = pixels(images)
    far = round(scale)
    out = truncated(operators.gaussian_blur(images, scale * sigma))
    count, channels, height, width = images.shape
    rows = torch.arange(far + 1, height, device=images.device)
    columns = torch.arange(far + 1, width, device=images.device)
    for _ in range(times):
        offsets = torch.randint(
            -far, 1, (2, count, len(rows), len(columns)), generator=draws, device=draws.device
        )
        down, right = offsets.to(images.device)
        source = (
            ((rows[:, None] + down) * width + columns + right)
            .flatten(1)[:, None]
            .expand(-1, channels, -1)
        )
        taken = out.flatten(2).gather(2, source).view(count, channels, len(rows), len(columns))
        out[:, :, far + 1 :, far + 1 :] = taken
    return operators.gaussian_blur(out, scale * sigma)


def motion_blur(images: Images, severity: int, draws: torch.Generator) -> Images:
    """Smeared along a line at -45 to 45 degrees, drawn for each image."""
    scale = pixels(images)
    radius, sigma = MOTION[severity - 1]
    angles = uniform(-pi / 4, pi / 4, len(images), draws=draws, device=images.device)
    return moved(images, radius=scale * radius, sigma=scale * sigma, angles=angles)


def zoom_blur(images: Images, severity: int) -> Images:
    """The mean of the image and of its enlargements by 1, 1.01, 1.02, ..."""
    count = ZOOM_FACTORS[severity - 1]
    height, width = images.shape[-2:]
    out = images.clone()
    # In whole pixels, many factors enlarge the same middle to the same size.
    factors = [1 + i * _ZOOM_STEP for i in range(count)]
    sizes = Counter(
        (enlarged_size(height, factor), enlarged_size(width, factor)) for factor in factors
    )
    for (rows, columns), times in sizes.items():
        out.add_(middle_enlarged(images, rows, columns), alpha=times)
    return out / (count + 1)


def gaussian_blur(images: Images, severity: int) -> Images:
    """Convolved with a Gaussian; the edge goes on."""
    return operators.gaussian_blur(images, pixels(images) * GAUSSIAN_SIGMA[severity - 1])
