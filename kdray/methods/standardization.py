"""Logit standardization (Sun, Ren, Li, Wang, Cao 2024, arXiv:2403.01427, eq. 16): an option of
every loss that compares a student's logits with its teacher's.

    Z(z) = (z - mean z)/σ(z),   σ(z)² = mean of (z - mean z)²

over the classes of one example. Both networks' logits are replaced by theirs before they are
divided by τ, so that the student is not asked to have the range of its teacher's logits. The
cross-entropy with the labels stays that of the logits themselves. Logits that are all equal become
0, without a gradient.
"""

from __future__ import annotations

import math

from jaxtyping import Float
from torch import Tensor

from kdray.core import Value
from kdray.methods.unit import unit


def standardized(logits: Float[Tensor, "B K"]) -> Float[Tensor, "B K"]:
    """Z(z) of every row: mean 0 and variance 1 over the classes."""
    return unit(logits - logits.mean(1, keepdim=True), 1) * math.sqrt(logits.shape[1])


class LogitStandardization(Value):
    """The option ``logit_standardization`` of a method that compares logits."""

    logit_standardization: bool = False
    """Compare (z - mean z)/σ(z) in the place of the logits z of both networks (Sun et al. 2024);
    the cross-entropy with the labels stays that of z."""

    def compared(
        self, logits: Float[Tensor, "B K"], teacher_logits: Float[Tensor, "B K"]
    ) -> tuple[Float[Tensor, "B K"], Float[Tensor, "B K"]]:
        """What the method compares: the student's logits and the teacher's, as they are or
        standardized."""
        if not self.logit_standardization:
            return logits, teacher_logits
        return standardized(logits), standardized(teacher_logits)
