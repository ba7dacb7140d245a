"""How far a student stays ahead of its teacher: robust_student, theorem 1, as its proof has it (eq.
14 with p = q = 2).

    ‖δ‖₂ < (f_S(x) - f_T(x)) / max_{z in B₂(x, R)} ‖∇f_T(z) - ∇f_S(z)‖₂    implies    f_S(x + δ) >=
    f_T(x + δ)

f is the softmax output of the true label. The theorem is printed the other way round (every longer
δ breaks it), which its proof does not show. The maximum is taken over *sampled* points of the ball,
and so is too small and the bound too large: it is an estimate, not a certificate. It says nothing
beyond the ball: values above R are reported as R.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal

import torch
from jaxtyping import Float32, Int64
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from kdray.core import Effort
from kdray.models import Classifier
from kdray.perturbations.attacks import in_ball
from kdray.robustness.base import Block, Evaluation, Measurement, Subject, blocks

ESTIMATE = "an estimate, not certified: the largest gradient is taken over sampled points"


def true_class_score(
    classifier: Classifier, images: Float32[Tensor, "B C H W"], labels: Int64[Tensor, "B"]
) -> tuple[Float32[Tensor, "B"], Float32[Tensor, "B C H W"]]:
    """f(x), the softmax output of the label, and its gradient for x."""
    images = images.detach().requires_grad_(True)
    scores = functional.softmax(classifier.logits(images), dim=1).gather(1, labels[:, None])[:, 0]
    (gradient,) = torch.autograd.grad(scores.sum(), images)
    return scores.detach(), gradient


class PredictionBound(Evaluation):
    """The mean of the sampled bound over the images, 0 where the student is not ahead, and the
    share where it is."""

    paper: ClassVar[str] = "robust_student theorem 1 (eqs. 7 to 14)"
    needs_teacher: ClassVar[bool] = True

    name: Literal["prediction_bound"] = "prediction_bound"
    epsilon: Annotated[float, Field(gt=0)] = 1.0
    """R, the l2 radius of the ball, in pixel units of images in [0, 1]."""
    points: Annotated[int, Field(ge=1), Effort(smoke=4)] = 16
    """Points of the ball, beside its centre, that the gradients are compared at."""

    def metrics(self) -> dict[str, int]:
        return {"radius": 1, "ahead": 1}

    def measure(self, subject: Subject) -> Iterator[Measurement]:
        if subject.teacher is None:
            raise ValueError("it compares a student with its trained teacher, and there is none")
        radii = torch.cat(
            [
                self._radii(subject.classifier, subject.teacher, block)
                for block in blocks(subject.split)
            ]
        )
        common = {
            "examples": len(radii),
            "norm": "l2",
            "epsilon": self.epsilon,
            "samples": self.points,
            "checks": ESTIMATE,
        }
        yield Measurement(metric="radius", value=float(radii.mean()), **common)  # type: ignore[arg-type]
        ahead = int((radii > 0).sum())
        yield Measurement(metric="ahead", value=ahead / len(radii), correct=ahead, **common)  # type: ignore[arg-type]

    def _radii(
        self, student: Classifier, teacher: Classifier, block: Block
    ) -> Float32[Tensor, "B"]:
        """Of each image: (f_S - f_T) over the largest difference of gradients, between 0 and R."""
        lead = torch.zeros(len(block.labels), device=block.images.device)
        steepest = torch.zeros_like(lead)
        draws = self.generator(block.images.device, block.number)
        for point in range(self.points + 1):
            at = (
                block.images
                if point == 0
                else block.images + in_ball(block.images, "l2", self.epsilon, draws)
            )
            (ours, our_slope), (theirs, their_slope) = (
                true_class_score(each, at, block.labels) for each in (student, teacher)
            )
            if point == 0:
                lead = ours - theirs
            steepest = torch.maximum(
                steepest, torch.linalg.vector_norm(their_slope - our_slope, dim=(1, 2, 3))
            )
        # Where both are flat in the whole ball nothing inside it changes their order.
        bound = lead / steepest.clamp(min=torch.finfo(lead.dtype).tiny)
        return torch.where(lead > 0, bound.clamp(max=self.epsilon), 0.0)
