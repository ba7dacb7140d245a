"""Reasons to distrust a robust accuracy, after the list that AutoAttack keeps (Croce, Hein 2020,
arXiv:2003.01690).

Each is a text for the column ``checks``, or none. What follows from comparing rows with each other
(a transferred attack that beats the white-box one) is told by :mod:`kdray.results.checks`, when the
rows are read.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool
from torch import Tensor

from kdray.robustness.base import Images, Subject, blocks

ASKED_TWICE = 8
"""Images that a model is asked for twice, to see whether it draws."""
NOTICED = 0.01
"""Share of the images, and never a single one, from which on a difference counts."""


def joined(*reasons: str | None) -> str | None:
    """All that apply, as one text."""
    return "; ".join(reason for reason in reasons if reason) or None


def leads_nowhere(gradient: Images) -> Bool[Tensor, "B"]:
    """Whether an image's gradient is zero (masked, or underflown) or not finite."""
    flat: Tensor = (gradient == 0).flatten(1).all(1) | ~gradient.isfinite().flatten(1).all(1)
    return flat


def zero_gradients(flat: int, attacked: int) -> str | None:
    """There is nothing to follow."""
    return f"zero or undefined gradient for {flat} of {attacked} images" if flat else None


@torch.no_grad()
def random_output(subject: Subject) -> str | None:
    """Two passes differ: the attack follows one draw and is judged by another."""
    few = next(blocks(subject.split)).images[:ASKED_TWICE]
    first, second = (subject.classifier.logits(few) for _ in range(2))
    if torch.allclose(first, second, atol=1e-5):
        return None
    return (
        f"randomised output: two passes differ by up to {float((first - second).abs().max()):.2g}"
    )


def above_clean(correct: int, clean: int) -> str | None:
    """No attack that works leaves a model better than it was."""
    return (
        f"robust above clean accuracy: {correct} images right, {clean} without attack"
        if correct > clean
        else None
    )


def still_falling(broken: int, examples: int, last: int, tried: str) -> str | None:
    """The ``last`` of what was ``tried`` ("20 steps") still broke images: more of it would break
    more."""
    number = f" {last}" if last > 1 else ""
    text = f"not converged: the last{number} of {tried} still broke {broken} of {examples} images"
    return text if noticed(broken, examples) else None


def final_worse(lost: int, examples: int) -> str | None:
    """The attack overshoots: an image was broken on the way and is right at the end."""
    return (
        f"an earlier iterate breaks {lost} images that the final one does not"
        if noticed(lost, examples)
        else None
    )


def noticed(count: int, examples: int) -> bool:
    return count > max(1, NOTICED * examples)
