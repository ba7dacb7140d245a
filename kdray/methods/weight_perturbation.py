"""Adversarial weight perturbation (AWP): Wu, Xia, Wang 2020, arXiv:2004.05884, section 4.

    min_w max_v L(w + v; x', y)    with ‖v_l‖ ≤ γ·‖w_l‖ for each layer l
    v_l = γ·‖w_l‖·g_l/‖g_l‖        g = ∇_w L(w; x', y): one step from v = 0, to the end of the ball

and the weights then follow the gradient at w + v. L is all that the method minimises, x' are the
examples that the attack has made of the weights w, and the batch of v is the one that is trained
on. Read from the authors' code (csdongxian/AWP): weights are those of two and more dimensions, no
biases and no batch norm, and the pass that finds v moves no running statistics.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor
from torch.func import functional_call

from kdray.core import Effort, Value
from kdray.models import Classifier, Outputs

_TINY = 1e-12  # a gradient of exactly zero has no direction: the layer stays as it is


class PerturbedStudent(Classifier):
    """A classifier that answers with other ``weights`` in the place of its own; the gradient for
    these reaches its own."""

    def __init__(self, classifier: Classifier, weights: dict[str, Tensor]) -> None:
        super().__init__(classifier.network, classifier.normalization)
        self._classifier = (classifier,)  # not a part: it has the same ones
        self._weights = weights
        self.training = classifier.training

    def forward(self, images: Tensor) -> Outputs:
        outputs: Outputs = functional_call(self._classifier[0], self._weights, (images,))
        return outputs


class WeightPerturbation(Value):
    """AWP beside an attack: the weights are trained where they are a little worse than they are."""

    paper: ClassVar[str] = "Wu et al. 2020, arXiv:2004.05884, section 4"

    gamma: Annotated[float, Field(ge=0)] = 0.005
    """γ, how long the perturbation of a layer may be beside its weights; 0: none."""
    warmup: Annotated[int, Field(ge=0), Effort(smoke=1, memory=0)] = 0
    """Epochs at the beginning without it."""

    def is_due(self, epoch: int) -> bool:
        """Whether weights are perturbed in the epoch with index ``epoch``."""
        return self.gamma > 0 and epoch >= self.warmup

    def perturbed(self, student: Classifier, total: Float[Tensor, ""]) -> PerturbedStudent:
        """``student`` with the weights at which the loss, ``total`` of its own ones, is high."""
        weights = {name: each for name, each in student.named_parameters() if each.ndim > 1}
        gradients = torch.autograd.grad(total, list(weights.values()), allow_unused=True)
        moved = {
            name: weight + self.gamma * offset(weight.detach(), gradient)
            for (name, weight), gradient in zip(weights.items(), gradients, strict=True)
            if gradient is not None
        }
        return PerturbedStudent(student, moved)


def offset(weight: Float[Tensor, "*shape"], gradient: Float[Tensor, "*shape"]) -> Tensor:
    """A step along ``gradient`` as long as ``weight``."""
    length = torch.linalg.vector_norm(gradient).clamp(min=_TINY)
    step: Tensor = gradient * (torch.linalg.vector_norm(weight) / length)
    return step
