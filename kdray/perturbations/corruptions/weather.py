"""Weather: snow, frost, fog, brightness.

Hendrycks & Dietterich 2019, section 3; constants for 32 x 32 from ``make_cifar_c.py`` of
hendrycks/robustness (commit 8190fe3). Lengths are in pixels and grow with the image
(:func:`pixels`).
"""

from __future__ import annotations

from math import pi

import torch
from torch import Tensor

from kdray.perturbations.corruptions.operators import (
    Images,
    Layer,
    enlarged_size,
    luma,
    middle_enlarged,
    moved,
    normal,
    pixels,
    truncated,
    uniform,
)

SNOW = (
    (0.10, 0.2, 1.00, 0.60, 8, 3, 0.95),
    (0.10, 0.2, 1.00, 0.50, 10, 4, 0.90),
    (0.15, 0.3, 1.75, 0.55, 10, 4, 0.90),
    (0.25, 0.3, 2.25, 0.60, 12, 6, 0.85),
    (0.30, 0.3, 1.25, 0.65, 14, 12, 0.80),
)
"""Mean and standard deviation of the noise, its enlargement, what of it is snow, radius and
standard deviation of its motion, the share of the picture that is not whitened."""
FROST = ((1.0, 0.2), (1.0, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45))
"""Share of the picture and of the frost."""
FROSTS = (
    ((78, 149, 165), (17, 9, 8), (22, 13, 13)),
    ((198, 203, 212), (8, 9, 9), (18, 18, 19)),
    ((198, 203, 212), (8, 9, 9), (18, 18, 19)),
    ((143, 158, 171), (10, 10, 11), (26, 26, 27)),
    ((103, 114, 126), (17, 16, 15), (35, 35, 34)),
)
"""Of random 32 x 32 parts of each of the reference's five photographs of frost, at a fifth of their
size, in 1/255: mean colour, standard deviation of a part's mean, mean standard deviation inside of
a part (measured over 300 parts)."""
FOG = ((0.2, 3.0), (0.5, 3.0), (0.75, 2.5), (1.0, 2.0), (1.5, 1.75))
"""How thick, and how much smoother it is at half the length."""
BRIGHTNESS = (0.05, 0.10, 0.15, 0.20, 0.30)


def snow(images: Images, severity: int, draws: torch.Generator) -> Images:
    """Flakes that fall at -135 to -45 degrees, and the same flakes turned by 180 degrees, on a
    whitened picture.

    Flakes are where Gaussian noise, enlarged, is above a threshold; whitened is max(x, 1.5·grey +
    0.5).
    """
    mean, spread, enlargement, threshold, radius, sigma, share = SNOW[severity - 1]
    scale, (height, width) = pixels(images), images.shape[-2:]
    noise = mean + spread * normal(len(images), 1, height, width, draws=draws, device=images.device)
    sizes = (enlarged_size(side, scale * enlargement) for side in (height, width))
    flakes = middle_enlarged(noise, *sizes)
    flakes = truncated(flakes.masked_fill(flakes < threshold, 0))
    angles = uniform(-3 * pi / 4, -pi / 4, len(images), draws=draws, device=images.device)
    flakes = moved(flakes, radius=scale * radius, sigma=scale * sigma, angles=angles)
    whitened = torch.maximum(images, 1.5 * luma(images) + 0.5)
    return share * images + (1 - share) * whitened + flakes + flakes.rot90(2, (2, 3))


def frost(images: Images, severity: int, draws: torch.Generator) -> Images:
    """a·x + b·frost, with a frost that is generated: CIFAR-C's is a part of one of five
    photographs.

    Each image gets the colour and contrast of one of the five (:data:`FROSTS`) and Gaussian noise
    whose amplitude falls with frequency as theirs does. It has their brightness and graininess, and
    none of their crystals.
    """
    picture, ice = FROST[severity - 1]
    count, channels, height, width = images.shape
    chosen = torch.randint(len(FROSTS), (count,), generator=draws, device=draws.device).to(
        images.device
    )
    looks = torch.tensor(FROSTS, device=images.device)[chosen] / 255
    mean, between, inside = looks[..., None, None].unbind(1)
    lightness = normal(count, 1, 1, 1, draws=draws, device=images.device)
    texture = _grainy(normal(count, 1, height, width, draws=draws, device=images.device))
    frosts = (mean + between * lightness + inside * texture).clamp_(0, 1)
    return picture * images + ice * (frosts if channels == 3 else luma(frosts))


def fog(images: Images, severity: int, draws: torch.Generator) -> Images:
    """(x + t·fog)·max(x) / (max(x) + t), max over an image; fog is a plasma fractal from 0 to 1."""
    thickness, decay = FOG[severity - 1]
    height, width = images.shape[-2:]
    side = 1 << (max(height, width, 2) - 1).bit_length()
    mist = plasma(len(images), side, decay, draws=draws, device=images.device)[
        :, None, :height, :width
    ]
    brightest = images.amax((1, 2, 3), keepdim=True)
    return (images + thickness * mist) * (brightest / (brightest + thickness))


def brightness(images: Images, severity: int) -> Images:
    """Value (of hue, saturation, value) raised by a constant, up to 1: every channel times min(V +
    c, 1)/V, V = max.

    Black, which has no hue and no saturation, becomes grey, and grey images are x + c.
    """
    added = BRIGHTNESS[severity - 1]
    value = images.amax(1, keepdim=True)
    raised = (value + added).clamp_(max=1)
    return torch.where(value > 0, images * (raised / value.clamp(min=1e-6)), raised)


def plasma(
    count: int, side: int, decay: float, *, draws: torch.Generator, device: torch.device
) -> Tensor:
    """``count`` plasma fractals (diamond-square on a torus of ``side`` = 2^k), each from 0 to 1.

    A new point is the mean of four neighbours plus U(-a, a); a falls by ``decay``² from one length
    to the next, half as long: the greater it is, the smoother the fog.
    """
    out = torch.zeros(count, side, side, device=device)
    step, reach = side, 1.0

    def between(total: Tensor) -> Tensor:
        return total / 4 + uniform(-reach, reach, *total.shape, draws=draws, device=device)

    while step >= 2:
        half = step // 2
        corners = out[:, ::step, ::step]
        pairs = corners + corners.roll(-1, 1)
        out[:, half::step, half::step] = centres = between(pairs + pairs.roll(-1, 2))
        out[:, ::step, half::step] = between(
            centres + centres.roll(1, 1) + corners + corners.roll(-1, 2)
        )
        out[:, half::step, ::step] = between(
            centres + centres.roll(1, 2) + corners + corners.roll(-1, 1)
        )
        step, reach = half, reach / decay**2
    lowest, highest = out.amin((1, 2), keepdim=True), out.amax((1, 2), keepdim=True)
    mist: Tensor = (out - lowest) / (highest - lowest)
    return mist


def _grainy(noise: Layer) -> Layer:
    """White noise with its amplitude at each frequency divided by the frequency, to mean 0 and
    standard deviation 1."""
    height, width = noise.shape[-2:]
    down = torch.fft.fftfreq(height, 1 / height, device=noise.device)
    right = torch.fft.rfftfreq(width, 1 / width, device=noise.device)
    frequency = torch.hypot(down[:, None], right)
    frequency[0, 0] = torch.inf
    grain: Tensor = torch.fft.irfft2(torch.fft.rfft2(noise) / frequency, s=(height, width))
    grain /= grain.std((2, 3), keepdim=True)
    return grain
