"""What robustness costs: PGD against other libraries and against its own passes, corruptions, the
whole suite.

    python -m tests.benchmarks.robustness [pgd] [passes] [corruptions] [suite] [--short] [options]

Networks are trained here, on digits of 3 x 32 x 32: one plainly, which the attack breaks, and one
adversarially, of which a good part of the images stands. Every library attacks the same images with
the same epsilon, step size, steps, restarts and batch, on one thread; its draws are its own.
Contenders take turns, and the seconds are those of the CPU, so that a busy machine disturbs all of
them alike and little.

foolbox and ART are in the extra ``bench``. torchattacks has an environment of its own, which
TORCHATTACKS (or --torchattacks) names and which is made if it is not there. The reference's script
of corruptions is looked for where MAKE_CIFAR_C (or --make-cifar-c) says. What is not there is not
measured, and a note says so.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from kdray.models import Classifier
from kdray.results.points.wilson import wilson
from kdray.robustness.checks import ASKED_TWICE
from tests.benchmarks import suite_cost
from tests.benchmarks.figures import Figure, arguments, follow
from tests.benchmarks.measuring import installed, say
from tests.benchmarks.networks import Name, Target, attacked, trained
from tests.benchmarks.passes import Size, attack, kdray, passes
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

OURS = "kdray, iterate: final"
AIMS = {
    False: {"foolbox as documented": ">= 6", "foolbox helped": ">= 1"},
    True: {"foolbox as documented": ">= 2.3", "foolbox helped": ">= 1"},
}
"""For a peer's time by kdray's, by whether the network is robust."""
PEERS = {
    "foolbox": "extra bench",
    "ART": "extra bench; small CNN only",
    "torchattacks": "environment that TORCHATTACKS names",
}
"""What each of them needs."""
PARTS = ("pgd", "passes", "corruptions", "suite")


def folder(variable: str) -> Path | None:
    """Named by the environment."""
    named = os.environ.get(variable)
    return Path(named) if named else None


@dataclass(frozen=True)
class Plan:
    """What is measured, and of how much."""

    parts: tuple[str, ...]
    sizes: dict[Name, Size]
    robust: tuple[Name, ...] = ("small CNN",)
    """Those that are trained adversarially too, which takes minutes for WRN-16-2."""
    torchattacks: Path | None = field(default_factory=lambda: folder("TORCHATTACKS"))
    make_cifar_c: Path | None = field(default_factory=lambda: folder("MAKE_CIFAR_C"))

    @classmethod
    def usual(cls, short: bool) -> Plan:
        if short:
            return cls(("pgd", "passes", "corruptions"), {"small CNN": Size(100, 1)})
        return cls(PARTS, {"small CNN": Size(250, 3), "WRN-16-2": Size(24, 1)})


def figures(short: bool) -> Iterator[Figure]:
    yield from planned(Plan.usual(short))


def planned(plan: Plan) -> Iterator[Figure]:
    torch.set_num_threads(1)
    for name, size in plan.sizes.items():
        for robust in (False, True) if name in plan.robust else (False,):
            if "pgd" in plan.parts:
                yield from pgd(trained(name, robust), size, torchattacks=plan.torchattacks)
            if "passes" in plan.parts:
                yield from passes(trained(name, robust), size)
    if "corruptions" in plan.parts:
        yield from suite_cost.corruptions(plan.make_cifar_c)
    if "suite" in plan.parts:
        yield from suite_cost.suite()


def pgd(asked: Target, size: Size, *, torchattacks: Path | None) -> Iterator[Figure]:
    """The same attack by everybody: the time of each by kdray's."""
    images, labels = attacked(size.images)
    runs = _take_turns(asked, images, labels, size.repeats)
    if torchattacks is not None:
        say(f"torchattacks attacks {asked}")
        python = torchattacks_environment(torchattacks)
        runs["torchattacks MultiAttack"] = torchattacks_apart(
            python, asked, images, labels, size.repeats
        )
    ours = runs.pop(OURS)
    absent = [
        f"{peer} ({needs})"
        for peer, needs in PEERS.items()
        if not any(who.startswith(peer) for who in runs)
    ]
    notes = [
        _accuracy(ours[0].correct, len(labels)),
        *([f"not measured: {', '.join(absent)}"] if absent else []),
    ]
    if asked.robust and not 0.3 <= ours[0].correct / len(labels) <= 0.7:
        notes.append("not the case that is meant, of which 0.3 to 0.7 stand")
    yield Figure(
        f"{asked}: kdray's PGD-{STEPS}, {RESTARTS} restarts, {len(labels)} images",
        tuple(run.seconds for run in ours),
        "s",
        None,
        "; ".join(notes),
    )
    for who, found in runs.items():
        ratios = tuple(
            theirs.seconds / own.seconds for theirs, own in zip(found, ours, strict=True)
        )
        note = _accuracy(found[-1].correct, len(labels))
        if not _overlap(found[-1].correct, ours[0].correct, len(labels)):
            note += ": NOT what kdray's leaves"
        if who == "foolbox as documented":
            note += "; attacks all images in every restart, with gradients of the weights"
            note += (
                ", where kdray attacks what still stands: here most of what it began with"
                if asked.robust
                else ""
            )
        if who == "foolbox helped":
            looked = min(len(labels), ASKED_TWICE)
            note += (
                "; as many passes as kdray, but for its look whether the model draws (2 passes "
                f"of {looked} images)"
            )
        yield Figure(f"{asked}: {who} / kdray", ratios, "x", AIMS[asked.robust].get(who), note)


def _take_turns(
    asked: Target, images: Tensor, labels: Tensor, repeats: int
) -> dict[str, list[Attacked]]:
    contenders: dict[str, Callable[[Classifier, Tensor, Tensor], int]] = {
        OURS: partial(kdray, attack()),
        "kdray, iterate: any": partial(kdray, attack("any")),
    }
    if installed("foolbox"):
        contenders |= {
            "foolbox as documented": foolbox_documented,
            "foolbox helped": foolbox_helped,
        }
    if (
        installed("adversarial-robustness-toolbox") and asked.name == "small CNN"
    ):  # as slow as foolbox: once is enough
        contenders["ART"] = art
    for contender in contenders.values():
        attacked_by(contender, asked, images[:1], labels[:1])
    runs: dict[str, list[Attacked]] = {who: [] for who in contenders}
    for turn in range(repeats):
        for who, contender in contenders.items():
            runs[who].append(attacked_by(contender, asked, images, labels))
            say(f"{asked}, {turn + 1}/{repeats}: {who} {runs[who][-1].seconds:.1f} s")
    return runs


def _accuracy(correct: int, examples: int) -> str:
    low, high = _interval(correct, examples)
    return f"robust accuracy {correct / examples:.3f} ({low:.3f}-{high:.3f})"


def _overlap(one: int, other: int, examples: int) -> bool:
    """Whether two robust accuracies may be the same."""
    (low, high), (bottom, top) = _interval(one, examples), _interval(other, examples)
    return bottom <= high and low <= top


def _interval(correct: int, examples: int) -> tuple[float, float]:
    """Of 95 %, by Wilson."""
    low, high = wilson(pd.Series([float(correct)]), pd.Series([float(examples)]))
    return float(low.iloc[0]), float(high.iloc[0])


def main() -> None:
    parser = arguments(figures)
    parser.add_argument(
        "parts", nargs="*", help=f"of {', '.join(PARTS)}; none: as many as the form has"
    )
    parser.add_argument(
        "--images", type=int, help="that the small CNN is attacked on (at most 250)"
    )
    parser.add_argument(
        "--wide-images", type=int, help="that WRN-16-2 is attacked on (at most 250)"
    )
    parser.add_argument("--repeats", type=int, help="of the attacks on the small CNN")
    parser.add_argument("--wide-repeats", type=int, help="of the attacks on WRN-16-2")
    parser.add_argument(
        "--torchattacks", type=Path, metavar="FOLDER", help="its own environment; made if not there"
    )
    parser.add_argument(
        "--make-cifar-c", type=Path, metavar="FOLDER", help="with the reference's script"
    )
    asked = parser.parse_args()
    if unknown := set(asked.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))} (allowed: {', '.join(PARTS)})")
    usual = Plan.usual(asked.short)
    given: dict[Name, tuple[int | None, int | None]] = {
        "small CNN": (asked.images, asked.repeats),
        "WRN-16-2": (asked.wide_images, asked.wide_repeats),
    }
    sizes = {
        name: Size(given[name][0] or size.images, given[name][1] or size.repeats)
        for name, size in usual.sizes.items()
    }
    plan = replace(
        usual,
        parts=tuple(asked.parts) or usual.parts,
        sizes=sizes,
        torchattacks=asked.torchattacks or usual.torchattacks,
        make_cifar_c=asked.make_cifar_c or usual.make_cifar_c,
    )
    follow(planned(plan), parser.description or "", asked.json)


if __name__ == "__main__":
    main()
