"""Projected gradient descent on images: noisy_collaboration, eqs. 4 and 5 (Kurakin et al. 2016, Madry et al. 2017).

    x₀ = x + U(ball of radius ε),   x_{n+1} = Π(x_n + step · direction(∇_x J(x_n, y)))

Π projects onto the ball around x and then onto [0, 1]; the direction is the gradient's sign for linf and the normalised
gradient for l2. The final iterate is the adversarial example. The same function serves training and evaluation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from jaxtyping import Float32, Int64
from torch import Tensor
from torch.nn import functional

Norm = Literal["linf", "l2"]
Images = Float32[Tensor, "B C H W"]
_TINY = 1e-12  # a gradient of exactly zero has no direction: its step is zero, not NaN


def in_ball(images: Images, norm: Norm, epsilon: float, draws: torch.Generator) -> Images:
    """For each image an offset drawn uniformly from the ball of radius ``epsilon``."""
    if norm == "linf":
        return torch.empty_like(images).uniform_(-epsilon, epsilon, generator=draws)
    direction = torch.randn(images.shape, generator=draws, device=images.device)
    radius = torch.rand(len(images), generator=draws, device=images.device) ** (1 / images[0].numel())
    return direction * (epsilon * radius / _length(direction)).view(-1, 1, 1, 1)


def random_start(images: Images, norm: Norm, epsilon: float, draws: torch.Generator) -> Images:
    """A point drawn uniformly from the ball of radius ``epsilon`` around each image, clipped to [0, 1]."""
    return (images + in_ball(images, norm, epsilon, draws)).clamp(0, 1)


def pgd(
    logits: Callable[[Images], Float32[Tensor, "B K"]],
    images: Images,
    labels: Int64[Tensor, "B"],
    *,
    norm: Norm,
    epsilon: float,
    step_size: float,
    steps: int,
    start: Images,
    samples: int = 1,
) -> Images:
    """Adversarial examples for ``images`` after ``steps`` steps from ``start``; cross-entropy of the true label rises.

    ``epsilon`` and ``step_size`` are absolute, in pixel units. The result lies in the ball and in [0, 1]. For a ``logits``
    that draws, the gradient of each step is the mean over ``samples`` calls (EPGD: in expectation over the noise).
    """
    adversarial = start.detach()
    for _ in range(steps):
        adversarial.requires_grad_(True)
        gradient = torch.zeros_like(images)
        for _ in range(samples):
            loss = functional.cross_entropy(logits(adversarial), labels, reduction="sum")
            gradient += torch.autograd.grad(loss, adversarial)[0]
        # The sum, not the mean: only its direction counts.
        moved = adversarial.detach() + step_size * _steepest(gradient, norm)
        adversarial = project(moved, images, norm, epsilon)
    return adversarial.detach()


def project(points: Images, images: Images, norm: Norm, epsilon: float) -> Images:
    """The ``points`` moved into the ball of radius ``epsilon`` around ``images`` and into [0, 1]."""
    if norm == "linf":
        inside = torch.minimum(torch.maximum(points, images - epsilon), images + epsilon)
    else:
        offset = points - images
        inside = images + offset * (epsilon / _length(offset)).clamp(max=1).view(-1, 1, 1, 1)
    return inside.clamp(0, 1)


def _steepest(gradient: Images, norm: Norm) -> Images:
    if norm == "linf":
        return gradient.sign()
    # A confident example's gradient is tiny and its squares underflow: scaled first, it still has its direction.
    scaled = gradient / gradient.abs().amax((1, 2, 3), keepdim=True).clamp(min=torch.finfo(gradient.dtype).tiny)
    return scaled / _length(scaled).view(-1, 1, 1, 1)


def _length(vectors: Images) -> Float32[Tensor, "B"]:
    length: Tensor = torch.linalg.vector_norm(vectors, dim=(1, 2, 3)).clamp(min=_TINY)
    return length
