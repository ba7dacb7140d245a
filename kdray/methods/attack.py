"""The attack inside training: PGD on the student as it stands, and what it makes rise.

    cross_entropy      CE(S(x'), y)                 Madry et al. 2017, arXiv:1706.06083
    margin             max_{k≠y} S_k(x') - S_y(x')  Carlini and Wagner 2017, arXiv:1608.04644
    kl_teacher_clean   KL(T(x) ‖ S(x'))             RSLAD: Zi et al. 2021, arXiv:2108.07969
    kl_teacher         KL(T(x') ‖ S(x'))            AdaAD: Huang et al. 2023, CVPR
    kl_self            KL(S(x) ‖ S(x'))             TRADES: Zhang et al. 2019, arXiv:1901.08573

each with the softmax of the logits as they are (temperature 1). The gradient of kl_teacher passes
through the teacher as well, which sees x' at every step; of kl_teacher_clean and kl_self the first
distribution is a constant.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, ClassVar, Literal, get_args

import torch
from jaxtyping import Float, Float32
from pydantic import Field
from torch import Tensor
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from kdray.core import Effort, Value
from kdray.methods.base import TrainingStep
from kdray.models import Classifier, Described, has_dropout, is_stochastic
from kdray.perturbations.attacks import Loss, Norm, Rise, pgd, random_start

START_SIGMA = 0.001
"""Standard deviation of a Gaussian start (TRADES, algorithm 1)."""


def kl_by_image(first: Float[Tensor, "B K"], second: Float[Tensor, "B K"]) -> Float[Tensor, "B"]:
    """KL(softmax(first) ‖ softmax(second)) of each image, summed over classes."""
    log_first, log_second = first.log_softmax(1), second.log_softmax(1)
    return functional.kl_div(log_second, log_first, reduction="none", log_target=True).sum(1)


class Attack(Value):
    """PGD with one random start around the images that are trained on."""

    paper: ClassVar[str] = (
        "smoothed_models section 2.2 (PGD-10, EPGD); current_understanding table 5 (PGD-7); Zi et "
        "al. 2021, Huang et al. 2023, Zhang et al. 2019"
    )

    loss: Literal["cross_entropy", "margin", "kl_teacher_clean", "kl_teacher", "kl_self"] = (
        "cross_entropy"
    )
    """What it makes rise: the cross-entropy of the label that is trained on, the margin of the
    highest other logit, or how far the student's answer to the perturbed image is from the
    teacher's to the clean image (RSLAD), the teacher's to the perturbed one (AdaAD), the student's
    own to the clean one (TRADES)."""
    norm: Norm = "linf"
    epsilon: Annotated[float, Field(ge=0)] = 8 / 255
    """Radius of the ball, in pixel units of images in [0, 1]."""
    step_size: Annotated[float, Field(gt=0)] = 2 / 255
    steps: Annotated[int, Field(ge=1), Effort(smoke=3, memory=3)] = 10
    start: Literal["uniform", "gaussian"] = "uniform"
    """uniform: anywhere in the ball; gaussian: beside the image (σ 0.001), as TRADES starts where
    its loss has no slope yet."""
    samples: Annotated[int, Field(ge=1), Effort(smoke=4, memory=2)] = 1
    """Forward passes that each step's gradient is averaged over: EPGD, for models that draw; 1:
    plain PGD."""
    batch_norm: Literal["running", "batch"] = "running"
    """While crafting: the running statistics (eval mode, dropout off), or those of the batch (train
    mode, dropout active); neither changes the running ones."""

    @property
    def asks_teacher(self) -> bool:
        """Whether the teacher's answer is part of what rises."""
        return self.loss in ("kl_teacher_clean", "kl_teacher")

    @property
    def shares_clean_pass(self) -> bool:
        """Whether the student's training pass of the clean images is what the attack compares
        with, so that it is made once."""
        return self.loss == "kl_self" and self.batch_norm == "batch"

    def check_fits(self, student: Described) -> None:
        """Raise ValueError where several passes of ``student`` would all be the same."""
        draws = is_stochastic(*student) or (self.batch_norm == "batch" and has_dropout(*student))
        if self.samples > 1 and not draws:
            raise ValueError(
                f"method.attack.samples: {self.samples} passes of a model that draws nothing are "
                "all the same; use 1"
            )

    def examples(
        self, step: TrainingStep, clean: Float[Tensor, "B K"] | None = None
    ) -> Float32[Tensor, "B C H W"]:
        """Adversarial examples for the student as it stands, around the images that it would be
        trained on; ``clean``: its logits of these, where :attr:`shares_clean_pass`.

        They lie in [0, 1]: input noise that is not clipped in the clean images is clipped here.
        """
        images, start = step.batch.images, self._start(step)
        with crafting(step.student, self.batch_norm):
            return pgd(
                step.student.logits,
                images,
                step.batch.labels,
                norm=self.norm,
                epsilon=self.epsilon,
                step_size=self.step_size,
                steps=self.steps,
                start=start,
                samples=self.samples,
                loss=self._rise(step, clean),
            )

    def _start(self, step: TrainingStep) -> Float32[Tensor, "B C H W"]:
        images, draws = step.batch.images, step.draws
        if self.start == "uniform":
            return random_start(images, self.norm, self.epsilon, draws)
        normal = torch.randn(images.shape, generator=draws, device=images.device)
        return (images + START_SIGMA * normal).clamp(0, 1)

    def _rise(self, step: TrainingStep, clean: Float[Tensor, "B K"] | None) -> Loss | Rise:
        """What rises; the student is in the mode that examples are crafted in."""
        if self.loss in get_args(Loss):
            return self.loss  # type: ignore[return-value]
        teacher, batch = step.teacher, step.batch
        if self.loss == "kl_teacher":
            assert teacher is not None

            def from_teacher(points: Tensor, answer: Tensor) -> Tensor:
                return kl_by_image(teacher(points, batch.labels, temperature=1.0).logits, answer)

            return from_teacher
        if self.loss == "kl_teacher_clean":
            assert teacher is not None
            fixed = teacher.logits(batch, temperature=1.0).detach()
        elif clean is not None:
            fixed = clean.detach()
        else:
            with torch.no_grad():
                fixed = step.student.logits(batch.images)
        return lambda _, answer: kl_by_image(fixed, answer)


@contextmanager
def crafting(student: Classifier, batch_norm: Literal["running", "batch"]) -> Iterator[None]:
    """``student`` in the mode that examples are crafted in; in train mode again afterwards, running
    mean and variance as they were."""
    norms = [module for module in student.modules() if isinstance(module, _BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    try:
        if batch_norm == "running":
            student.eval()
        for norm in norms:
            norm.momentum = 0.0
        yield
    finally:
        student.train()
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
