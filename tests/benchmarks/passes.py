"""kdray's PGD, and what it needs at least: its passes through the network."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from kdray.data import to_unit
from kdray.models import Classifier
from kdray.robustness import PGD, Subject, measurements
from kdray.robustness.checks import ASKED_TWICE
from tests.benchmarks.figures import Figure
from tests.benchmarks.measuring import median_of, timed
from tests.benchmarks.networks import EPSILON, STEP_SIZE, Target, attacked, dataset
from tests.benchmarks.peers import RESTARTS, STEPS


class Size(NamedTuple):
    """How much is measured of one network."""

    images: int
    repeats: int


def attack(iterate: Literal["final", "any"] = "final", restarts: int = RESTARTS) -> PGD:
    return PGD(
        epsilon=(EPSILON,),
        step_size=(STEP_SIZE,),
        steps=(STEPS,),
        restarts=restarts,
        iterate=iterate,
    )


def kdray(evaluation: PGD, classifier: Classifier, images: Tensor, labels: Tensor) -> int:
    """As a sweep measures it; ``images`` are those of the split."""
    split = dataset().test.first(len(labels))
    assert torch.equal(to_unit(split.images), images)
    correct = measurements(evaluation, Subject(classifier, split))[0].correct
    assert correct is not None
    return correct


class Counting(Classifier):
    """A classifier that remembers its passes: how many images, and whether a gradient was asked
    for."""

    def __init__(self, inner: Classifier) -> None:
        super().__init__(inner.network, inner.normalization)
        self.passes: list[tuple[int, bool]] = []

    def logits(self, images: Tensor) -> Tensor:
        self.passes.append((len(images), torch.is_grad_enabled()))
        return super().logits(images)


def passes_of(
    evaluation: PGD, classifier: Classifier, images: Tensor, labels: Tensor
) -> list[tuple[int, bool]]:
    """Those that an attack cannot do without."""
    watched = Counting(classifier).eval()
    kdray(evaluation, watched, images, labels)
    # The last two are kdray's look whether the model draws: no other library has it.
    *needed, first_look, second_look = watched.passes
    assert first_look == second_look == (min(len(images), ASKED_TWICE), False)
    return needed


def passes(asked: Target, size: Size) -> Iterator[Figure]:
    """PGD's time against the sum of the times of its passes, each size timed alone, in turns with
    the attack."""
    images, labels = attacked(size.images)
    needed = passes_of(attack(), asked.classifier, images, labels)
    look = (min(len(images), ASKED_TWICE), False)
    kinds = {*needed, look}
    floors, ratios, looks = [], [], []
    for _ in range(size.repeats):
        whole = timed(lambda: kdray(attack(), asked.classifier, images, labels))[0]
        cost = {
            kind: median_of(partial(_one_pass, asked.classifier, images, labels, *kind), 3)
            for kind in kinds
        }
        floors.append(sum(cost[made] for made in needed))
        ratios.append(whole / floors[-1])
        looks.append(2 * cost[look] / floors[-1])
    counts = Counter(gradient for _, gradient in needed)
    shown = {
        wanted: sum(size for size, gradient in needed if gradient == wanted)
        for wanted in (True, False)
    }
    yield Figure(
        f"{asked}: kdray's PGD-{STEPS}, {RESTARTS} restarts / the passes that it needs",
        tuple(ratios),
        "x",
        None,
        f"floor {statistics.median(floors):.2f} s: {counts[True]} passes with a gradient "
        f"for {shown[True]} images, "
        f"{counts[False]} without for {shown[False]}; a look whether it draws takes "
        f"{statistics.median(looks):.2f} of it",
    )


def _one_pass(
    classifier: Classifier, images: Tensor, labels: Tensor, size: int, gradient: bool
) -> None:
    """Forward, and backward to the images where a gradient is wanted."""
    points = images[:size].clone().requires_grad_(gradient)
    with torch.set_grad_enabled(gradient):
        logits = classifier.logits(points)
    if gradient:
        torch.autograd.grad(
            functional.cross_entropy(logits, labels[:size], reduction="sum"), points
        )
