"""A black square somewhere in the image: robust_student, section V.D.1."""

from __future__ import annotations

import torch
from jaxtyping import Float32
from torch import Tensor


def occlude(
    side: int, images: Float32[Tensor, "B C H W"], draws: torch.Generator
) -> Float32[Tensor, "B C H W"]:
    """``images`` with a square of ``side`` x ``side`` zeros in all channels, wholly inside and at a
    place of its own in each.

    Every place is equally likely; ``side`` is at most the image's.
    """
    count, _, height, width = images.shape
    if not 0 <= side <= min(height, width):
        raise ValueError(
            f"a square of {side} x {side} pixels does not fit into images of {height} x {width}"
        )
    covered = []
    for length in (height, width):
        # From a uniform number, so that the place moves as little as it can from one side to the
        # next.
        first = (
            torch.rand(count, 1, generator=draws, device=images.device) * (length - side + 1)
        ).floor()
        at = torch.arange(length, device=images.device)
        covered.append((at >= first) & (at < first + side))
    rows, columns = covered
    return images.masked_fill((rows[:, :, None] & columns[:, None, :])[:, None], 0.0)
