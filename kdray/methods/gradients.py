"""The gradient of a network's certainty for its input: what robust_student's L_G compares (eq.
16)."""

from __future__ import annotations

import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor
from torch.nn import functional


def true_class_probability(
    logits: Float[Tensor, "B K"], labels: Int64[Tensor, "B"], temperature: float = 1.0
) -> Float[Tensor, "B"]:
    """f = softmax(z/τ)_y of every example."""
    return functional.softmax(logits / temperature, dim=1).gather(1, labels[:, None])[:, 0]


def input_gradient(
    images: Float32[Tensor, "B C H W"],
    logits: Float[Tensor, "B K"],
    labels: Int64[Tensor, "B"],
    temperature: float,
    *,
    create_graph: bool,
) -> Float32[Tensor, "B C H W"]:
    """∇_x softmax(z/τ)_y of every image, from the ``logits`` that were computed of ``images``.

    With ``create_graph`` it can be differentiated itself and the graph of ``logits`` stays;
    without, that graph is used up.
    """
    score = true_class_probability(logits, labels, temperature).sum()
    (gradient,) = torch.autograd.grad(score, images, create_graph=create_graph)
    return gradient
