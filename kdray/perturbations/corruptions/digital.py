"""What cameras, screens and files do: contrast, elastic transform, pixelate, JPEG, saturate.

Hendrycks & Dietterich 2019, section 3; constants for 32 x 32 from ``make_cifar_c.py`` of
hendrycks/robustness (commit 8190fe3). Elastic transform's lengths are fractions of the side,
pixelate's cells grow with the image (:func:`pixels`).
"""

from __future__ import annotations

from io import BytesIO

import numpy as np
import torch
from jaxtyping import Float32
from PIL import Image
from torch import Tensor
from torch.nn import functional

from kdray.perturbations.corruptions.operators import (
    Images,
    along,
    gaussian_blur,
    mirrored,
    pixels,
    rounded,
    uniform,
)

CONTRAST = (0.75, 0.5, 0.4, 0.3, 0.15)
ELASTIC = (
    (0.0, 0.0, 0.08),
    (0.05, 0.2, 0.07),
    (0.08, 0.06, 0.06),
    (0.1, 0.04, 0.05),
    (0.1, 0.03, 0.03),
)
"""How strong and how smooth the displacement of pixels is, and how far the affine map moves three
points; all of them fractions of the shorter side."""
PIXELATE = (0.95, 0.9, 0.85, 0.75, 0.65)
JPEG_QUALITY = (80, 65, 58, 50, 40)
SATURATE = ((0.3, 0.0), (0.1, 0.0), (1.5, 0.0), (2.0, 0.1), (2.5, 0.2))
"""Factor and constant."""


def contrast(images: Images, severity: int) -> Images:
    """m + c·(x - m), m the mean of each channel of each image."""
    mean = images.mean((2, 3), keepdim=True)
    return mean + CONTRAST[severity - 1] * (images - mean)


def elastic_transform(images: Images, severity: int, draws: torch.Generator) -> Images:
    """An affine map that moves three points around the middle, then a smooth displacement of every
    pixel."""
    strength, smoothness, movement = ELASTIC[severity - 1]
    count, _, height, width = images.shape
    side = min(height, width)
    middle = torch.tensor([width // 2, height // 2], dtype=torch.float32)
    points = middle + side // 3 * torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]])
    shifts = uniform(
        -movement * side, movement * side, count, 3, 2, draws=draws, device=images.device
    )
    out = affine(images, points.to(images.device), shifts)
    if not strength:
        return out
    field = uniform(-1.0, 1.0, count, 2, height, width, draws=draws, device=images.device)
    field = strength * side * gaussian_blur(field, smoothness * side, edge=mirrored, reach=3.0)
    return _at(out, _grid(images) + field.movedim(1, 3), doubled_edge=True)


def pixelate(images: Images, severity: int) -> Images:
    """Made smaller by averaging areas, then as large as before by repeating pixels."""
    share, scale = PIXELATE[severity - 1], pixels(images)
    small = [max(1, int(side / scale * share)) for side in images.shape[-2:]]
    return _resized(_resized(images, small), list(images.shape[-2:]))


def jpeg_compression(images: Images, severity: int) -> Images:
    """Through a JPEG file of the given quality, by Pillow: one image after the other, on the CPU.

    Its blocks are 8 x 8 and its quality has no length: the same at every size.
    """
    levels = (images.clamp(0, 1) * 255).round().to(torch.uint8).movedim(1, 3).cpu().numpy()
    pictures = [
        _through_jpeg(picture.squeeze(2) if picture.shape[2] == 1 else picture, severity)
        for picture in levels
    ]
    out = torch.from_numpy(np.stack(pictures)).to(images.device).view(levels.shape).movedim(3, 1)
    return out.to(torch.float32) / 255


def saturate(images: Images, severity: int) -> Images:
    """Saturation (of hue, saturation, value) times a factor plus a constant, within 0 and 1.

    With V = max and m = min over the channels, S = (V - m)/V and x = V - V·S·f, where f = (V -
    x)/(V - m) is what S leaves as it is. A grey pixel counts as red, as the reference's hue of 0
    has it. Grey images have no saturation: no change.
    """
    if images.shape[1] == 1:
        return images.clone()
    factor, constant = SATURATE[severity - 1]
    value, span = (
        images.amax(1, keepdim=True),
        images.amax(1, keepdim=True) - images.amin(1, keepdim=True),
    )
    saturation = (factor * span / value.clamp(min=1e-6) + constant).clamp_(max=1)
    red = torch.tensor([0.0, 1.0, 1.0], device=images.device).view(1, 3, 1, 1)
    share = torch.where(span > 0, (value - images) / span.clamp(min=1e-6), red)
    return value - value * saturation * share


def _through_jpeg(picture: np.ndarray, severity: int) -> np.ndarray:
    file = BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=JPEG_QUALITY[severity - 1])
    return np.asarray(Image.open(file))


def _resized(images: Images, size: list[int]) -> Float32[Tensor, "N C h w"]:
    """Every pixel the mean of those whose centres it covers (Pillow's box filter), rounded to 8
    bits on each axis."""
    height, width = images.shape[-2:]
    rows, columns = (
        _box_matrix(height, size[0]).to(images.device),
        _box_matrix(width, size[1]).to(images.device),
    )
    across = rounded(along(images, torch.eye(height, device=images.device), columns))
    return rounded(along(across, rows, torch.eye(size[1], device=images.device)))


def _box_matrix(size: int, new: int) -> Tensor:
    step = max(size / new, 1.0)
    centres = (torch.arange(new, dtype=torch.float64)[:, None] + 0.5) * (size / new)
    distances = (torch.arange(size, dtype=torch.float64) + 0.5 - centres) / step
    covered = ((distances > -0.5) & (distances <= 0.5)).float()
    return covered / covered.sum(1, keepdim=True)


def _grid(images: Images) -> Float32[Tensor, "1 H W 2"]:
    """x and y of every pixel."""
    height, width = images.shape[-2:]
    down, right = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack([right, down], -1)[None].to(images)


def affine(
    images: Images, points: Float32[Tensor, "3 2"], shifts: Float32[Tensor, "N 3 2"]
) -> Images:
    """Each image under the affine map that takes ``points`` (x, y) to ``points + shifts``; mirrored
    at the edge."""
    moved = torch.cat([points + shifts, torch.ones_like(shifts[..., :1])], 2)
    back = torch.linalg.solve(moved, points.expand(len(images), -1, -1))
    grid = _grid(images)
    places = torch.cat([grid, torch.ones_like(grid[..., :1])], -1).flatten(1, 2) @ back
    return _at(images, places.view(len(images), *grid.shape[1:]), doubled_edge=False)


def _at(images: Images, places: Float32[Tensor, "N H W 2"], *, doubled_edge: bool) -> Images:
    """``images`` read at ``places`` (x, y) linearly; beyond the edge mirrored, in its outer or its
    middle line."""
    height, width = images.shape[-2:]
    size = torch.tensor([width, height], device=images.device)
    unit = (2 * places + 1) / size - 1 if doubled_edge else 2 * places / (size - 1) - 1
    return functional.grid_sample(
        images, unit, padding_mode="reflection", align_corners=not doubled_edge
    )
