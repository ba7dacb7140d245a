"""Whether an exported file answers as the model that it was made from."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from kdray.core import seeds

TOLERANCE = 1e-4
"""Of a logit; where logits are larger than 1, of the largest: float32 has 24 bits, however large a
number is."""
RANDOM = 61
"""Images of random pixels; with a black, a white and a grey one they are 64."""
BATCH = 17
"""Images that are answered at once; the last batch is smaller, so that a batch size which was built
in shows."""

Answer = Callable[[Tensor], Tensor]
"""Images (N, C, H, W) to logits (N, K)."""


class Disagreement(Exception):
    """The exported file answers differently from the model."""


def random_images(shape: tuple[int, int, int]) -> Float[Tensor, "N C H W"]:
    """Images in [0, 1] of random pixels, and three of one colour, at which a normalisation might
    divide by 0."""
    drawn = torch.rand(RANDOM, *shape, generator=seeds.generator(0, "evaluation"))
    flat = torch.tensor([0.0, 1.0, 0.5]).view(3, 1, 1, 1).expand(3, *shape)
    return torch.cat([drawn, flat])


@torch.no_grad()
def largest_difference(model: Answer, other: Answer, images: Float[Tensor, "N C H W"]) -> float:
    """max |z - z'| over ``images`` and classes, divided by max |z| where that is above 1. NaN where
    a logit is."""
    found = torch.zeros(())
    for index, batch in enumerate(images.split(BATCH)):
        # Both draw the same, if they draw.
        with seeds.ambient(0, "evaluation", index):
            logits = model(batch)
        with seeds.ambient(0, "evaluation", index):
            answered = other(batch)
        found = torch.maximum(
            found, (logits - answered).abs().max() / logits.abs().max().clamp(min=1)
        )
    return float(found)


def require_agreement(differences: dict[str, float]) -> None:
    """:class:`Disagreement` unless all ``differences``, by what they were found on, are within
    :data:`TOLERANCE`."""
    for images, difference in differences.items():
        if not difference <= TOLERANCE:  # NaN is not
            raise Disagreement(
                f"on {images} the logits differ by up to {difference:.2g} (allowed: {TOLERANCE:g})"
            )
