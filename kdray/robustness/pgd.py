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
follow only where any iterate counts. Neither changes a number on a CPU; on a GPU, whose libraries
choose kernels by the size of the batch, the last bits of what is left in it may differ.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal

import torch
from jaxtyping import Bool, Int64
from pydantic import Field, model_validator
from torch import Tensor

from kdray.core import Effort, OneOrMore, several
from kdray.models import Classifier
from kdray.perturbations.attacks import Iterate, Loss, Norm, iterates, losses, random_start
from kdray.robustness import checks
from kdray.robustness.attack_record import AttackRecord, WorstExamples
from kdray.robustness.base import (
    Block,
    Images,
    Measurement,
    Perturbing,
    Subject,
    accuracy,
    blocks,
    is_correct,
    right_predictions,
)


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
        for restart in range(self.restarts):
            for iterate in self._run(classifier, block, epsilon, step_size, restart):
                taken, points = iterate.number, iterate.points
                if taken in worst and self.restarts == 1:
                    worst[taken] = points
                elif taken in worst:
                    with torch.no_grad():
                        loss = losses(classifier.logits(points), labels, self.loss)
                    higher = (loss > highest[taken]).view(-1, 1, 1, 1)
                    worst[taken] = torch.where(higher, points, worst[taken])
                    highest[taken] = torch.maximum(loss, highest[taken])
        return list(worst.values())

    def _run(
        self,
        classifier: Classifier,
        block: Block,
        epsilon: float,
        step_size: float,
        restart: int,
        at: Int64[Tensor, "n"] | None = None,
    ) -> Iterator[Iterate]:
        """The iterates of one restart on the images ``at`` of ``block``; none: on all.

        The start is drawn for the whole block: that of an image does not depend on which others are
        still standing.
        """
        draws = self.generator(block.images.device, block.number, restart)
        start = random_start(block.images, self.norm, epsilon, draws)
        images, labels = block.images, block.labels
        if at is not None:
            start, images, labels = start[at], images[at], labels[at]
        return iterates(
            classifier.logits,
            images,
            labels,
            norm=self.norm,
            epsilon=epsilon,
            step_size=step_size,
            steps=max(several(self.steps)),
            start=start,
            samples=self.samples,
            loss=self.loss,
        )

    def measure(self, subject: Subject) -> Iterator[Measurement]:
        records = {
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
        for attack, record in records.items():
            for steps in several(self.steps):
                for metric in self.metrics():
                    correct, examples = self._count(record, metric, steps)
                    doubts = checks.joined(
                        drawn, *self._doubts(record, metric, steps, correct, tells=drawn is None)
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
        """What all restarts do to a block."""
        steps = several(self.steps)
        record = AttackRecord.before(
            right_predictions(classifier, block.images, block.labels, self.repeats),
            steps=steps,
            restarts=self.restarts,
            repeats=self.repeats,
        )
        worst = WorstExamples(block, steps, self.repeats) if self.repeats > 1 else None
        for restart in range(self.restarts):
            at = torch.nonzero(self._undecided(record)).flatten()
            if not len(at):
                break
            path = self._run(classifier, block, epsilon, step_size, restart, at)
            self._follow(path, classifier, at, restart, record, worst)
        for taken, examples in ({} if worst is None else worst.images).items():
            right = right_predictions(classifier, examples, block.labels, self.repeats)
            record.afresh[taken] = right * record.attackable
        return record

    def _undecided(self, record: AttackRecord) -> Bool[Tensor, "B"]:
        """The images on which another restart may change a number."""
        if self.lowest_run:
            return record.attackable
        if self.iterate == "any":
            return record.broken_at > min(several(self.steps))
        return record.survives

    def _follow(
        self,
        path: Iterator[Iterate],
        classifier: Classifier,
        at: Int64[Tensor, "n"],
        restart: int,
        record: AttackRecord,
        worst: WorstExamples | None,
    ) -> None:
        """Note in ``record`` and ``worst`` what the iterates of a restart do to the images ``at``
        of a block."""
        for iterate in path:
            taken, points, labels = iterate.number, iterate.points, iterate.labels
            if iterate.is_last:
                right = is_correct(classifier, points, labels)
            else:
                right = iterate.slope.logits.argmax(1) == labels
            record.note_broken(at, ~right, taken)
            if restart == taken == 0:
                record.flat[at] = checks.leads_nowhere(iterate.slope.gradient)
            if self.iterate == "final" and taken in several(self.steps):
                counted = right.long()
                if worst is not None:
                    counted = right_predictions(classifier, points, labels, self.repeats)
                    worst.note(taken, at, points, counted)
                record.right[taken][restart, at] = counted
            if self.iterate == "any" and not iterate.is_last and not right.all():
                iterate.leave_out(~right)
                at = at[right]
                if not len(at):
                    return

    def _count(self, record: AttackRecord, metric: str, steps: int) -> tuple[int, int]:
        """Right predictions, and all of them."""
        if metric == "any_iterate_accuracy":
            return int((record.broken_at > steps).sum()), len(record.broken_at)
        predictions = len(record.broken_at) * self.repeats
        if metric == "lowest_run_accuracy":
            return int(record.right[steps].sum(1).min()), predictions
        return int(
            (record.afresh[steps] if self.repeats > 1 else record.right[steps].amin(0)).sum()
        ), predictions

    def _doubts(
        self, record: AttackRecord, metric: str, steps: int, correct: int, *, tells: bool
    ) -> Iterator[str | None]:
        """Reasons to distrust a number; ``tells``: whether a prediction tells what an iterate
        breaks, or luck."""
        examples, late = len(record.broken_at), steps // 4
        yield checks.zero_gradients(int(record.flat.sum()), int(record.attackable.sum()))
        yield checks.above_clean(correct, int(record.clean.sum()))
        if metric == "lowest_run_accuracy" or not (tells and self._one_prediction):
            return
        if late:
            broken = (record.broken_at > steps - late) & (record.broken_at <= steps)
            yield checks.still_falling(int(broken.sum()), examples, late, f"{steps} steps")
        if metric == "accuracy":
            if self.restarts > 1:
                before, after = (
                    record.right[steps][:restarts].amin(0).sum() for restarts in (-1, self.restarts)
                )
                yield checks.still_falling(
                    int(before - after), examples, 1, f"{self.restarts} restarts"
                )
            yield checks.final_worse(correct - int((record.broken_at > steps).sum()), examples)
