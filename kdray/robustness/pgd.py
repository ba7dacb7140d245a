"""Accuracy under projected gradient descent: noisy_collaboration, eqs. 4 and 5, "worst of 5 random
initializations".

Counted in three ways, each with its own metric:

    accuracy               an image is robust if the final iterate of no restart breaks it: worst
    per example, final iterate any_iterate_accuracy   … if no iterate of any restart breaks it, the
    starts included; the stronger claim lowest_run_accuracy    … of each restart by itself; the
    lowest of these accuracies

An image that is misclassified without perturbation counts as broken in all of them. A run of n
steps passes through the final iterates of all shorter ones, so several ``steps`` cost no more than
the largest: accuracy by attack step (smoothed_models, figures 4 to 6). An image that a restart
broke is left out of the next, as soon as no number needs it; it is left out of the steps that
follow only where any iterate counts. Neither changes a number.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

import torch
from jaxtyping import Bool, Int64
from pydantic import Field, model_validator
from torch import Tensor

from kdray.core import Effort, OneOrMore, several
from kdray.models import Classifier
from kdray.perturbations.attacks import Ball, Loss, Norm, losses, random_start, slope
from kdray.robustness import checks
from kdray.robustness.base import (
    Block,
    Images,
    Measurement,
    Perturbing,
    Subject,
    accuracy,
    blocks,
    right_predictions,
)

NEVER = 2**31
"""Number of the iterate that breaks an image which none breaks."""


class PGD(Perturbing):
    """PGD from uniform random starts in the ball, for every combination of epsilon, step_size and
    steps."""

    paper: ClassVar[str] = (
        "noisy_collaboration figs. 1, 2, 4 (5 restarts); smoothed_models tables 2, 3, "
        "figs. 4 to 6 (EPGD)"
    )

    name: Literal["pgd"] = "pgd"
    norm: Norm = "linf"
    epsilon: OneOrMore[Annotated[float, Field(ge=0)]] = 8 / 255
    """Radius of the ball, in pixel units of images in [0, 1]; one or a list."""
    step_size: OneOrMore[Annotated[float, Field(gt=0)]] = 2 / 255
    """Absolute, in pixel units; one or a list."""
    steps: Annotated[OneOrMore[Annotated[int, Field(ge=1)]], Effort(smoke=3, memory=3)] = 20
    """One or a list: accuracy by attack step, from one run."""
    restarts: Annotated[int, Field(ge=1), Effort(smoke=2, memory=2)] = 1
    loss: Loss = "cross_entropy"
    """What rises: the cross-entropy, or the margin of the highest other logit (Carlini, Wagner
    2017)."""
    iterate: Literal["final", "any"] = "final"
    """What may break an image: the final iterate (the papers'), which gives any_iterate_accuracy
    beside accuracy, or any, which gives that alone and is faster."""
    lowest_run: bool = False
    """Also the lowest accuracy of a single restart; every image then goes through every restart."""
    samples: Annotated[int, Field(ge=1), Effort(smoke=4, memory=2)] = 1
    """Passes that each step's gradient is averaged over (EPGD), for models that draw."""
    repeats: Annotated[int, Field(ge=1), Effort(memory=2)] = 1
    """Predictions of each adversarial example, for models that draw: accuracy is the share of right
    ones, and they are made afresh once the worst restart is chosen, which one prediction would make
    look worse than it is."""

    @model_validator(mode="after")
    def _counts_what_it_can(self) -> PGD:
        if self.iterate == "any" and (self.repeats > 1 or self.lowest_run):
            raise ValueError(
                "iterate: any counts one prediction of every iterate; repeats and "
                "lowest_run need final"
            )
        return self

    def cautions(self) -> Iterator[str]:
        for epsilon, step_size in self._attacks():
            if step_size > epsilon > 0:
                yield (
                    f"step_size {step_size:g} is larger than epsilon {epsilon:g}: every step "
                    "leaves the ball"
                )

    def _attacks(self) -> list[tuple[float, float]]:
        return [
            (epsilon, step_size)
            for epsilon in several(self.epsilon)
            for step_size in several(self.step_size)
        ]

    def metrics(self) -> dict[str, int]:
        numbers = len(self._attacks()) * len(several(self.steps))
        if self.iterate == "any":
            return {"any_iterate_accuracy": numbers}
        named = ["accuracy", *(["any_iterate_accuracy"] if self._one_prediction else [])]
        return dict.fromkeys(
            [*named, *(["lowest_run_accuracy"] if self.lowest_run else [])], numbers
        )

    @property
    def _one_prediction(self) -> bool:
        """Whether the pass that a step is made with also tells what its iterate breaks: not where
        predictions are drawn."""
        return self.samples == self.repeats == 1

    def strengths(self) -> list[dict[str, Any]]:
        return [
            self._parameters(*attack, steps)
            for attack in self._attacks()
            for steps in several(self.steps)
        ]

    def perturbed(self, classifier: Classifier, block: Block) -> Iterator[Images]:
        """Final iterates, of every image that of the restart with the highest loss; all images go
        through all restarts."""
        for attack in self._attacks():
            yield from self._strongest(classifier, block, *attack)

    def _parameters(self, epsilon: float, step_size: float, steps: int) -> dict[str, Any]:
        return {
            "norm": self.norm,
            "epsilon": epsilon,
            "step_size": step_size,
            "steps": steps,
            "restarts": self.restarts,
            "samples": self.samples,
        }

    def _strongest(
        self, classifier: Classifier, block: Block, epsilon: float, step_size: float
    ) -> list[Images]:
        """By steps."""
        _, images, labels = block
        worst = dict.fromkeys(several(self.steps), images)
        highest = {
            steps: torch.full(labels.shape, -torch.inf, device=labels.device) for steps in worst
        }
        ball = Ball(images, self.norm, epsilon)
        for restart in range(self.restarts):
            points = self._start(block, epsilon, restart)
            for taken in range(1, max(worst) + 1):
                gradient = slope(
                    classifier.logits, points, labels, loss=self.loss, samples=self.samples
                ).gradient
                points = ball.step(points, gradient, step_size)
                if taken in worst and self.restarts == 1:
                    worst[taken] = points
                elif taken in worst:
                    with torch.no_grad():
                        loss = losses(classifier.logits(points), labels, self.loss)
                    worst[taken] = torch.where(
                        (loss > highest[taken]).view(-1, 1, 1, 1), points, worst[taken]
                    )
                    highest[taken] = torch.maximum(loss, highest[taken])
        return list(worst.values())

    def _start(self, block: Block, epsilon: float, restart: int) -> Images:
        """Drawn for the whole block: an image's start does not depend on which others are still
        standing."""
        draws = self.generator(block.images.device, block.number, restart)
        return random_start(block.images, self.norm, epsilon, draws)

    def measure(self, subject: Subject) -> Iterator[Measurement]:
        fates = {
            attack: AttackRecord.joined(
                [
                    self._attack(subject.classifier, block, *attack)
                    for block in blocks(subject.split)
                ]
            )
            for attack in self._attacks()
        }
        expected = self.samples > 1 or (self.smoothing is not None and self.smoothing.samples > 1)
        drawn = None if expected else checks.random_output(subject)
        for attack, fate in fates.items():
            for steps in several(self.steps):
                for metric in self.metrics():
                    correct, examples = self._count(fate, metric, steps)
                    doubts = checks.joined(
                        drawn, *self._doubts(fate, metric, steps, correct, tells=drawn is None)
                    )
                    yield accuracy(
                        correct,
                        examples,
                        metric=metric,
                        checks=doubts,
                        **self._parameters(*attack, steps),
                    )

    def _attack(
        self, classifier: Classifier, block: Block, epsilon: float, step_size: float
    ) -> AttackRecord:
        """All restarts on a block."""
        fate = AttackRecord.before(
            right_predictions(classifier, block.images, block.labels, self.repeats), self
        )
        worst = (
            {steps: block.images.clone() for steps in several(self.steps)}
            if self.repeats > 1
            else {}
        )
        fewest = {
            steps: torch.full_like(block.labels, self.repeats + 1) for steps in worst
        }  # any example is better than none
        for restart in range(self.restarts):
            at = torch.nonzero(fate.undecided(self)).flatten()
            if not len(at):
                break
            start = self._start(block, epsilon, restart)
            points, images, labels = start[at], block.images[at], block.labels[at]
            ball = Ball(images, self.norm, epsilon)
            for taken in range(max(several(self.steps)) + 1):
                if not len(at):
                    break
                if taken < max(several(self.steps)):
                    gradient, logits = slope(
                        classifier.logits, points, labels, loss=self.loss, samples=self.samples
                    )
                else:
                    with torch.no_grad():
                        gradient, logits = None, classifier.logits(points)
                wrong = logits.argmax(1) != labels
                fate.broken_at[at] = torch.where(
                    wrong, fate.broken_at[at].clamp(max=taken), fate.broken_at[at]
                )
                if restart == taken == 0 and gradient is not None:
                    fate.flat[at] = checks.leads_nowhere(gradient)
                if self.iterate == "final" and taken in several(self.steps):
                    right = (~wrong).long()
                    if self.repeats > 1:
                        right = right_predictions(classifier, points, labels, self.repeats)
                    if worst:
                        worse = right < fewest[taken][at]
                        worst[taken][at] = torch.where(
                            worse.view(-1, 1, 1, 1), points, worst[taken][at]
                        )
                        fewest[taken][at] = torch.minimum(right, fewest[taken][at])
                    fate.right[taken][restart, at] = right
                if gradient is None:
                    break
                if self.iterate == "any" and wrong.any():
                    at, points, images, labels, gradient = (
                        each[~wrong] for each in (at, points, images, labels, gradient)
                    )
                    ball = Ball(images, self.norm, epsilon)
                points = ball.step(points, gradient, step_size)
        for steps, examples in worst.items():
            fate.afresh[steps] = (
                right_predictions(classifier, examples, block.labels, self.repeats)
                * fate.attackable
            )
        return fate

    def _count(self, fate: AttackRecord, metric: str, steps: int) -> tuple[int, int]:
        """Right predictions, and all of them."""
        if metric == "any_iterate_accuracy":
            return int((fate.broken_at > steps).sum()), len(fate.broken_at)
        predictions = len(fate.broken_at) * self.repeats
        if metric == "lowest_run_accuracy":
            return int(fate.right[steps].sum(1).min()), predictions
        return int(
            (fate.afresh[steps] if self.repeats > 1 else fate.right[steps].amin(0)).sum()
        ), predictions

    def _doubts(
        self, fate: AttackRecord, metric: str, steps: int, correct: int, *, tells: bool
    ) -> Iterator[str | None]:
        """Reasons to distrust a number; ``tells``: whether a prediction tells what an iterate
        breaks, or luck."""
        examples, late = len(fate.broken_at), steps // 4
        yield checks.zero_gradients(int(fate.flat.sum()), int(fate.attackable.sum()))
        yield checks.above_clean(correct, int(fate.clean.sum()))
        if metric == "lowest_run_accuracy" or not (tells and self._one_prediction):
            return
        if late:
            broken = (fate.broken_at > steps - late) & (fate.broken_at <= steps)
            yield checks.still_falling(int(broken.sum()), examples, late, f"{steps} steps")
        if metric == "accuracy":
            if self.restarts > 1:
                before, after = (
                    fate.right[steps][:restarts].amin(0).sum() for restarts in (-1, self.restarts)
                )
                yield checks.still_falling(
                    int(before - after), examples, 1, f"{self.restarts} restarts"
                )
            yield checks.final_worse(correct - int((fate.broken_at > steps).sum()), examples)


@dataclass(frozen=True)
class AttackRecord:
    """What an attack did to some images."""

    clean: Int64[Tensor, "B"]
    """Right predictions without perturbation, of ``repeats``."""
    right: dict[int, Int64[Tensor, "R B"]]
    """By steps: right predictions of the final iterate of each restart; all of them where it was
    left out."""
    broken_at: Int64[Tensor, "B"]
    """The first iterate of any restart that breaks the image (0 is the start), or :data:`NEVER`; -1
    without perturbation."""
    flat: Bool[Tensor, "B"]
    """Whether the gradient at the first start leads nowhere."""
    afresh: dict[int, Int64[Tensor, "B"]] = field(default_factory=dict)
    """By steps, with ``repeats``: right ones of new predictions of the worst restart."""

    @classmethod
    def before(cls, clean: Int64[Tensor, "B"], attack: PGD) -> AttackRecord:
        """Nothing has been tried."""
        alive = torch.where(clean > 0, attack.repeats, 0).expand(attack.restarts, -1)
        return cls(
            clean,
            {steps: alive.clone() for steps in several(attack.steps)},
            torch.where(clean > 0, NEVER, -1),
            torch.zeros_like(clean, dtype=torch.bool),
        )

    @classmethod
    def joined(cls, parts: list[AttackRecord]) -> AttackRecord:
        """Of all blocks."""
        first, *_ = parts
        return cls(
            torch.cat([part.clean for part in parts]),
            {
                steps: torch.cat([part.right[steps] for part in parts], dim=1)
                for steps in first.right
            },
            torch.cat([part.broken_at for part in parts]),
            torch.cat([part.flat for part in parts]),
            {steps: torch.cat([part.afresh[steps] for part in parts]) for steps in first.afresh},
        )

    @property
    def attackable(self) -> Bool[Tensor, "B"]:
        return self.clean > 0

    def undecided(self, attack: PGD) -> Bool[Tensor, "B"]:
        """The images on which another restart may change a number."""
        if attack.lowest_run:
            return self.attackable
        if attack.iterate == "any":
            return self.broken_at > min(several(attack.steps))
        return torch.stack([right.amin(0) > 0 for right in self.right.values()]).any(0)
