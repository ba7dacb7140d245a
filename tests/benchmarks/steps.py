"""One training step of every method beside a plain one, and beside the passes that it cannot do
without.

    python -m tests.benchmarks.steps [--short]

WRN-16-2, batches of 128 images of 3 x 32 x 32, as many threads as a trial has unless it asks for
more, what the teacher says given as from a warm cache. A pass is timed alone: its graph is there
before the clock starts. The floor of a step is the sum of its passes. For PGD these are each step's
forward pass and backward pass to the images, in the mode that it crafts examples in, and a forward
and a backward pass for every half of the loss. For the loss of input gradients they are two forward
and two backward passes: a layer's product with its weight, and its two products in the backward
pass, each come once more when the gradient is taken and differentiated.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor, nn
from torch.nn import functional

from kdray.data import to_unit
from kdray.methods import (
    IAD,
    KD,
    MART,
    TRADES,
    Adversarial,
    Batch,
    CrossEntropy,
    FitNet,
    GradientMatching,
    Margin,
    Method,
    RobustStudent,
    Teacher,
    TrainingStep,
)
from kdray.methods.attack import Attack
from kdray.methods.igdm import IndirectGradient
from kdray.methods.weight_perturbation import WeightPerturbation
from kdray.models import Outputs
from kdray.training.optimizers import SGD
from tests.benchmarks.figures import Figure, run
from tests.benchmarks.measuring import say, timed
from tests.benchmarks.networks import DATA, dataset, untrained

BATCH, THREADS = 128, 1


class Given(Teacher):
    """A teacher whose answer for the batch is at hand."""

    def __init__(self, logits: Float[Tensor, "B K"], gradient: Float32[Tensor, "B C H W"]) -> None:
        self._logits, self._gradient = logits, gradient

    def __call__(
        self, images: Float32[Tensor, "B C H W"], labels: Int64[Tensor, "B"], *, temperature: float
    ) -> Outputs:
        del labels, temperature
        return Outputs(self._logits, (), images.flatten(1))  # whatever it is asked

    def logits(self, batch: Batch, *, temperature: float) -> Float[Tensor, "B K"]:
        del batch, temperature
        return self._logits

    def with_gradient(
        self, batch: Batch, *, temperature: float
    ) -> tuple[Float[Tensor, "B K"], Float32[Tensor, "B C H W"]]:
        del batch, temperature
        return self._logits, self._gradient


class Bench:
    """A student and a batch; seconds of what is done with them."""

    def __init__(self) -> None:
        split, draws = dataset().train.first(BATCH), torch.Generator().manual_seed(0)
        images = to_unit(split.images)
        self.batch = Batch(images, images, split.labels)
        self.teacher = Given(
            torch.randn(BATCH, DATA.classes, generator=draws),
            1e-3 * torch.randn(images.shape, generator=draws),
        )
        self.student = untrained("WRN-16-2").train()
        # So slow that the last step costs what the first one does.
        self.optimizer = SGD(learning_rate=1e-9).build(self.student)

    def step(self, method: Method) -> float:
        """As the training loop does it."""
        draws = torch.Generator().manual_seed(0)

        def work() -> None:
            losses = method.losses(
                "main", TrainingStep(self.student, nn.Module(), self.batch, self.teacher, draws)
            )
            self.optimizer.zero_grad(set_to_none=True)
            losses.total.backward()
            self.optimizer.step()

        return timed(work)[0]

    def forward(self, *, training: bool = True) -> float:
        """For a loss that the weights are to learn from, or, not ``training``, for examples to be
        crafted."""
        self.student.train(training).requires_grad_(training)
        images = self.batch.images.clone().requires_grad_(not training)
        seconds, _ = timed(lambda: self.student.logits(images))
        self.student.train().requires_grad_(True)
        return seconds

    def backward(self) -> float:
        """To the weights."""
        self.optimizer.zero_grad(set_to_none=True)
        return timed(
            functional.cross_entropy(
                self.student.logits(self.batch.images), self.batch.labels
            ).backward
        )[0]

    def backward_to_images(self, *, training: bool = True) -> float:
        """And nowhere else."""
        self.student.train(training).requires_grad_(False)
        points = self.batch.images.clone().requires_grad_(True)
        loss = functional.cross_entropy(self.student.logits(points), self.batch.labels)
        seconds, _ = timed(lambda: torch.autograd.grad(loss, points))
        self.student.train().requires_grad_(True)
        return seconds

    def double_backward(self) -> float:
        """Of the loss of input gradients."""
        step = TrainingStep(self.student, nn.Module(), self.batch, self.teacher, torch.Generator())
        self.optimizer.zero_grad(set_to_none=True)
        return timed(GradientMatching().losses("main", step).total.backward)[0]

    def update(self) -> float:
        """Of the weights."""
        self.backward()
        return timed(self.optimizer.step)[0]


PASSES: dict[str, Callable[[Bench], float]] = {
    "forward": Bench.forward,
    "backward to the weights": Bench.backward,
    "forward, crafting": partial(Bench.forward, training=False),
    "backward to the images, crafting": partial(Bench.backward_to_images, training=False),
    "update of the weights": Bench.update,
}
"""What floors are made of."""
OTHERS: dict[str, Callable[[Bench], float]] = {
    "backward to the images only": Bench.backward_to_images,
    "double backward": Bench.double_backward,
}
"""Passes that are only told."""


ATTACK = Attack(steps=10)
SOFT = KD(alpha=1.0, temperature=1.0)


class Case(NamedTuple):
    """A step to be measured."""

    name: str
    method: Method
    halves: int = 1
    """Forward and backward passes to learn from."""
    crafting: int = 0
    """Forward and backward passes to the images."""
    aim: float | None = None
    short: bool = True
    """Whether it is in the short form too."""

    def floor(self, cost: dict[str, float]) -> float:
        """Seconds, with the seconds of each of :data:`PASSES`."""
        half = cost["forward"] + cost["backward to the weights"]
        step = cost["forward, crafting"] + cost["backward to the images, crafting"]
        return self.halves * half + self.crafting * step + cost["update of the weights"]

    @property
    def passes(self) -> str:
        """What the floor counts, each of them forward and backward, but for the update of the
        weights."""
        return f"{self.halves} to learn" + (f", {self.crafting} to craft" if self.crafting else "")


def cases() -> list[Case]:
    return [
        Case("cross-entropy", CrossEntropy()),
        Case("KD, logits given", KD()),
        Case("L_S (margin), logits given", Margin(), short=False),
        Case("L_G, logits and gradients given", GradientMatching(), halves=2, aim=3.5),
        Case(
            "robust_student, logits and gradients given",
            RobustStudent(),
            halves=2,
            aim=3.5,
            short=False,
        ),
        Case("FitNet's main stage, logits given", FitNet(), short=False),
        *(
            Case(
                f"PGD-{steps}, mix {mix:g}",
                Adversarial(attack=Attack(steps=steps), mix=mix),
                halves=1 if mix == 1 else 2,
                crafting=steps,
                aim=0.75 * steps + 1.5,
                short=mix == 1 and steps == 3,
            )
            for mix in (1.0, 0.5)
            for steps in (1, 3, 7, 10)
        ),
        *robust_cases(),
    ]


def robust_cases() -> Iterator[Case]:
    """Yield the methods of robust training and distillation with PGD-10, what the teacher says
    given: a clean and a perturbed pass to learn from, and with AWP the same to find it."""
    rslad = Attack(steps=10, loss="kl_teacher_clean")
    adaad = Adversarial(
        attack=Attack(steps=10, loss="kl_teacher"), mix=1.0, clean=SOFT, perturbed=SOFT
    )
    matched = adaad.model_copy(update={"indirect_gradient": IndirectGradient()})
    methods: dict[str, tuple[Method, int]] = {
        "TRADES": (TRADES(), 2),
        "MART": (MART(), 2),
        "RSLAD": (Adversarial(attack=rslad, mix=5 / 6, clean=SOFT, perturbed=SOFT), 2),
        "AdaAD": (adaad, 1),
        "AdaAD with IGDM": (matched, 2),
        "IAD": (IAD(attack=ATTACK, warmup=0), 2),
        "PGD, mix 1, AWP": (
            Adversarial(attack=ATTACK, mix=1.0, weight_perturbation=WeightPerturbation()),
            2,
        ),
        "TRADES, AWP": (TRADES(weight_perturbation=WeightPerturbation()), 4),
    }
    for name, (method, halves) in methods.items():
        yield Case(f"{name}, 10 steps", method, halves=halves, crafting=10, short=False)


def figures(short: bool) -> Iterator[Figure]:
    torch.set_num_threads(THREADS)
    bench, turns = Bench(), 1 if short else 2
    asked = [case for case in cases() if case.short or not short]
    timed_alone = PASSES if short else PASSES | OTHERS
    bench.step(asked[0].method)
    passes: dict[str, list[float]] = {name: [] for name in timed_alone}
    steps: dict[str, list[float]] = {case.name: [] for case in asked}
    for turn in range(turns):
        for name, once in timed_alone.items():
            passes[name].append(min(once(bench), once(bench)))  # the first may wait for memory
        for case in asked:
            steps[case.name].append(bench.step(case.method))
        say(f"turn {turn + 1}/{turns}: a plain step {steps[asked[0].name][-1]:.2f} s")
    plain = steps[asked[0].name]
    yield Figure(f"a plain step, {THREADS} thread", tuple(1e3 * seconds for seconds in plain), "ms")
    for name, seconds in passes.items():
        yield Figure(f"{name} / a plain step", _ratios(seconds, plain), "x")
    cost = {name: statistics.median(seconds) for name, seconds in passes.items()}
    for case in asked[1:]:
        found, floor = steps[case.name], case.floor(cost)
        lowest = floor / statistics.median(plain)
        above = ", which is above the aim" if case.aim is not None and lowest > case.aim else ""
        note = (
            f"its passes ({case.passes}) alone take {lowest:.2f}{above}; "
            f"{statistics.median(found) / floor:.2f} times that"
        )
        aim = None if case.aim is None else f"<= {case.aim:g}"
        yield Figure(f"{case.name} / a plain step", _ratios(found, plain), "x", aim, note)


def _ratios(seconds: list[float], plain: list[float]) -> tuple[float, ...]:
    """Turn by turn."""
    return tuple(one / other for one, other in zip(seconds, plain, strict=True))


if __name__ == "__main__":
    run(figures)
