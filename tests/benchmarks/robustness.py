"""What robustness costs: PGD against other libraries and against its own passes, corruptions, the whole suite.

    make bench      (or: python -m tests.benchmarks.robustness [pgd] [passes] [corruptions] [suite] [options])

Networks are trained here, on digits of 3 x 32 x 32: one plainly, which the attack breaks, and one adversarially, of which a
good part of the images stands. Every library attacks the same images with the same epsilon, step size, steps, restarts and
batch, on as many threads; its draws are its own. Contenders take turns, so that a busy machine disturbs all of them; with
OMP_NUM_THREADS=1 the seconds are those of the CPU, which a busy machine hardly changes.
"""

from __future__ import annotations

import argparse
import statistics
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional

from kdray.data import to_unit
from kdray.models import Classifier
from kdray.results.intervals import wilson
from kdray.robustness import PGD, Subject, measurements
from kdray.robustness.checks import ASKED_TWICE
from tests.benchmarks import suite_cost
from tests.benchmarks.measuring import installed, median_of, say, spread, table, this_machine, timed
from tests.benchmarks.networks import EPSILON, STEP_SIZE, Name, Target, attacked, dataset, trained
from tests.benchmarks.peers import (
    RESTARTS,
    STEPS,
    Attacked,
    art,
    attacked_by,
    foolbox_documented,
    foolbox_helped,
    torchattacks_apart,
    torchattacks_environment,
)

PARTS = ("pgd", "passes", "corruptions", "suite")
TARGETS: tuple[tuple[Name, bool], ...] = (
    ("small CNN", False), ("small CNN", True), ("WRN-16-2", False), ("WRN-16-2", True),
)  # fmt: skip
AIMS = {False: 6.0, True: 2.3}
"""At least so many times kdray's time for foolbox as documented, by whether the network is robust."""


@dataclass(frozen=True)
class Size:
    """How much is measured of one network."""

    images: int
    repeats: int


def attack(iterate: Literal["final", "any"] = "final") -> PGD:
    return PGD(epsilon=(EPSILON,), step_size=(STEP_SIZE,), steps=(STEPS,), restarts=RESTARTS, iterate=iterate)


def kdray(evaluation: PGD, classifier: Classifier, images: Tensor, labels: Tensor) -> int:
    """As a sweep measures it; ``images`` are those of the split."""
    split = dataset().test.first(len(labels))
    assert torch.equal(to_unit(split.images), images)
    correct = measurements(evaluation, Subject(classifier, split))[0].correct
    assert correct is not None
    return correct


def pgd(sizes: dict[Name, Size], torchattacks: Path | None) -> None:
    """The same attack by everybody."""
    python = None if torchattacks is None else torchattacks_environment(torchattacks)
    for name, robust in TARGETS:
        asked = trained(name, robust)
        images, labels = attacked(sizes[name].images)
        runs = _take_turns(asked, images, labels, sizes[name].repeats)
        if python is not None:
            say(f"torchattacks attacks {asked}")
            runs["torchattacks MultiAttack"] = torchattacks_apart(python, asked, images, labels, sizes[name].repeats)
        _tell(asked, len(labels), runs)


def _take_turns(asked: Target, images: Tensor, labels: Tensor, repeats: int) -> dict[str, list[Attacked]]:
    contenders: dict[str, Callable[[Classifier, Tensor, Tensor], int]] = {
        "kdray, iterate: final": partial(kdray, attack()), "kdray, iterate: any": partial(kdray, attack("any")),
    }  # fmt: skip
    if installed("foolbox"):
        contenders |= {"foolbox as documented": foolbox_documented, "foolbox helped": foolbox_helped}
    if installed("adversarial-robustness-toolbox"):
        contenders["ART"] = art
    for contender in contenders.values():
        attacked_by(contender, asked, images[:1], labels[:1])
    runs: dict[str, list[Attacked]] = {who: [] for who in contenders}
    for turn in range(repeats):
        for who, contender in contenders.items():
            runs[who].append(attacked_by(contender, asked, images, labels))
            say(f"{asked}, {turn + 1}/{repeats}: {who} {runs[who][-1].seconds:.1f} s")
    return runs


def _tell(asked: Target, examples: int, runs: dict[str, list[Attacked]]) -> None:
    ours = runs["kdray, iterate: final"]
    reference = statistics.median(run.seconds for run in ours)
    low, high = _interval(ours[0].correct, examples)
    rows = []
    for who, found in runs.items():
        correct = found[-1].correct
        bottom, top = _interval(correct, examples)
        ratio = statistics.median(run.seconds for run in found) / reference
        rows.append((
            who, spread([run.seconds for run in found]), f"{ratio:.2f}", _aim(who, asked.robust),
            f"{correct / examples:.3f}", f"{bottom:.3f}-{top:.3f}", "yes" if bottom <= high and low <= top else "NO",
        ))  # fmt: skip
    table(
        f"1. PGD-{STEPS}, {RESTARTS} restarts, linf {EPSILON}, {examples} images: {asked}",
        ("", "seconds", "/ kdray final", "aim", "robust accuracy", "95 % (Wilson)", "overlaps"), rows,
    )  # fmt: skip
    standing = ours[0].correct / examples
    if asked.robust and not 0.3 <= standing <= 0.7:
        print(f"not the case that is meant: {standing:.2f} of the images stand, and the ratios depend on it (0.3 to 0.7)")
    for missing in ("foolbox", "ART", "torchattacks"):
        if not any(who.startswith(missing) for who in runs):
            print(f"{missing}: not measured ({'--torchattacks FOLDER' if missing == 'torchattacks' else 'extra bench'})")


def _aim(who: str, robust: bool) -> str:
    if who == "foolbox as documented":
        return f">= {AIMS[robust]:g}"
    return ">= 1" if who == "foolbox helped" else ""


def _interval(correct: int, examples: int) -> tuple[float, float]:
    low, high = wilson(pd.Series([float(correct)]), pd.Series([float(examples)]))
    return float(low.iloc[0]), float(high.iloc[0])


class Counting(Classifier):
    """A classifier that remembers its passes: how many images, and whether a gradient was asked for."""

    def __init__(self, inner: Classifier) -> None:
        super().__init__(inner.network, inner.normalization)
        self.passes: list[tuple[int, bool]] = []

    def logits(self, images: Tensor) -> Tensor:
        self.passes.append((len(images), torch.is_grad_enabled()))
        return super().logits(images)


def passes(sizes: dict[Name, Size]) -> None:
    """PGD's time against the sum of the times of the passes that it cannot do without."""
    rows = []
    for name, robust in TARGETS:
        asked = trained(name, robust)
        images, labels = attacked(sizes[name].images)
        rows.append(_against_floor(asked, images, labels, sizes[name].repeats))
        say(f"passes of {asked}: {rows[-1][-1]}")
    table(
        f"2. kdray's PGD-{STEPS} with {RESTARTS} restarts (iterate: final) against its passes, each size timed alone",
        ("", "images", "passes with gradient", "image-passes", "without", "image-passes", "floor s",
         "with check s", "measured s", "measured / floor"),
        rows,
    )  # fmt: skip


def _against_floor(asked: Target, images: Tensor, labels: Tensor, repeats: int) -> tuple[str, ...]:
    watched = Counting(asked.classifier).eval()
    kdray(attack(), watched, images, labels)
    # The last two are kdray's look whether the model draws: no other library has it.
    *needed, first_look, second_look = watched.passes
    assert first_look == second_look == (min(len(images), ASKED_TWICE), False)
    cost, measured = _floor_and_measured(asked.classifier, images, labels, watched.passes, repeats)
    floor = sum(cost[made] for made in needed)
    counts = Counter(gradient for _, gradient in needed)
    shown = {wanted: sum(size for size, gradient in needed if gradient == wanted) for wanted in (True, False)}
    return (
        str(asked), str(len(images)), str(counts[True]), str(shown[True]), str(counts[False]), str(shown[False]),
        f"{floor:.2f}", f"{floor + 2 * cost[first_look]:.2f}", f"{measured:.2f}", f"{measured / floor:.2f}",
    )  # fmt: skip


def _floor_and_measured(
    classifier: Classifier, images: Tensor, labels: Tensor, made: list[tuple[int, bool]], repeats: int
) -> tuple[dict[tuple[int, bool], float], float]:
    """Seconds of each kind of pass, and of the attack: medians, taken in turns."""
    single: dict[tuple[int, bool], list[float]] = {kind: [] for kind in made}
    whole = []
    for _ in range(repeats):
        whole.append(timed(lambda: kdray(attack(), classifier, images, labels))[0])
        for kind, seconds in single.items():
            seconds.append(median_of(partial(_one_pass, classifier, images, labels, *kind), 3))
    return {kind: statistics.median(seconds) for kind, seconds in single.items()}, statistics.median(whole)


def _one_pass(classifier: Classifier, images: Tensor, labels: Tensor, size: int, gradient: bool) -> None:
    """Forward, and backward to the images where a gradient is wanted."""
    points = images[:size].clone().requires_grad_(gradient)
    with torch.set_grad_enabled(gradient):
        logits = classifier.logits(points)
    if gradient:
        torch.autograd.grad(functional.cross_entropy(logits, labels[:size], reduction="sum"), points)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.robustness", description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; none: all of them")
    parser.add_argument("--images", type=int, default=250, help="that the small CNN is attacked on (at most 250)")
    parser.add_argument("--wide-images", type=int, default=100, help="that WRN-16-2 is attacked on (at most 250)")
    parser.add_argument("--repeats", type=int, default=3, help="of the attacks on the small CNN")
    parser.add_argument("--wide-repeats", type=int, default=1, help="of the attacks on WRN-16-2")
    parser.add_argument("--torchattacks", type=Path, metavar="FOLDER", help="its own environment; made if it is not there")
    parser.add_argument("--make-cifar-c", type=Path, metavar="FOLDER", help="with the reference's script and photographs")
    asked = parser.parse_args()
    if unknown := set(asked.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))} (allowed: {', '.join(PARTS)})")
    sizes: dict[Name, Size] = {
        "small CNN": Size(asked.images, asked.repeats), "WRN-16-2": Size(asked.wide_images, asked.wide_repeats),
    }  # fmt: skip
    do: dict[str, Callable[[], None]] = {
        "pgd": lambda: pgd(sizes, asked.torchattacks), "passes": lambda: passes(sizes),
        "corruptions": lambda: suite_cost.corruptions(asked.make_cifar_c), "suite": suite_cost.suite,
    }  # fmt: skip
    print(this_machine(), flush=True)
    for part in asked.parts or PARTS:
        seconds, _ = timed(do[part])
        say(f"{part} took {seconds:.0f} s")
    print(this_machine())


if __name__ == "__main__":
    main()
