"""3. Speed beside the arithmetic and the bytes of the card.

    python -m tests.gpu.check.speed [--device cpu]

Images a second of WRN-16-2 in training (KD from WRN-40-2 whose answers are known, in batches of
128; adversarial training) and attacked by PGD-10 in blocks as evaluations attack. Beside each
stands how many there could be if its products and convolutions were all, and if the bytes that its
operators read and write were all, at the peaks that a large product and a large copy reach on the
same card.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import torch

from kdray.data import to_unit
from kdray.methods import KD, Method
from kdray.methods.adversarial import Adversarial
from kdray.methods.attack import Attack
from kdray.perturbations.attacks import pgd, random_start
from kdray.robustness.base import BLOCK
from kdray.teachers import frozen
from kdray.training.compute import ComputeOptions, Precision
from tests.benchmarks.distillation import drawn, network
from tests.benchmarks.figures import Figure
from tests.benchmarks.measuring import timed
from tests.benchmarks.precision import Way
from tests.gpu.check.bounds import Peaks, counted, peaks
from tests.gpu.check.part import FULL, course, each_of, run, size_on

EPSILON, STEP_SIZE = 8 / 255, 2 / 255


class Work(NamedTuple):
    """Something that is done with a number of images."""

    images: int
    run: Callable[[], object]

    def rate(self, device: torch.device) -> float:
        """Images a second."""
        return self.images / timed(self.run, device)[0]


def training(method: Method, precision: Precision, device: torch.device, steps: int | None) -> Work:
    """The training steps of an epoch, or so many ``steps``."""
    size = size_on(device)
    size = size if steps is None else size.steps(steps)
    one = course(method, device, size, Way(precision, ComputeOptions()))
    return Work(size.images, one.train)


def attacking(attack_steps: int, device: torch.device, blocks: int | None) -> Work:
    """PGD on every image, or on so many ``blocks`` of them."""
    size = size_on(device)
    of_block = BLOCK if device.type == "cuda" else size.batch
    data = drawn(max(of_block, size.images) if blocks is None else blocks * of_block)
    classifier = frozen(network(size.student, data).to(device))
    images = to_unit(data.train.images.to(device)).split(of_block)
    draws = torch.Generator(device).manual_seed(0)

    def run() -> None:
        for block in images:
            pgd(
                classifier.logits,
                block,
                classifier.logits(block).argmax(1),
                norm="linf",
                epsilon=EPSILON,
                step_size=STEP_SIZE,
                steps=attack_steps,
                start=random_start(block, "linf", EPSILON, draws),
            )

    return Work(len(data.train.labels), run)


def beside_bounds(
    name: str, work: Callable[[int | None], Work], most: Peaks, device: torch.device, repeats: int
) -> Iterator[Figure]:
    """The speed of ``work``, of all images or of so many steps, and what of its bounds it
    reaches."""
    whole, part = work(None), work(2)
    part.run()  # what the teacher says is known then
    cost = counted(part.run).by(part.images)
    whole.run()
    rates = tuple(whole.rate(device) for _ in range(repeats))
    needs = f"{cost.flops / 1e9:.3g} GFLOP, {cost.bytes / 1e6:.3g} MB an image"
    yield Figure(name, rates, "images/s", note=needs)
    for bound, highest in zip(("arithmetic", "bytes"), most.rates(cost), strict=True):
        ratios = tuple(rate / highest for rate in rates)
        note = f"at most {highest:.3g} images/s"
        yield Figure(f"{name}: of what its {bound} would allow", ratios, "x", note=note)
    nearer = min(most.rates(cost))
    times = tuple(nearer / rate for rate in rates)
    yield Figure(f"{name}: time / what the nearer of the bounds allows", times, "x")


def peaks_told(found: dict[Precision, Peaks]) -> Iterator[Figure]:
    """The peaks as figures."""
    for precision, each in found.items():
        yield Figure(f"product of large matrices, {precision}", (each.flops / 1e12,), "TFLOP/s")
    first = next(iter(found.values()))
    yield Figure("copy of a large tensor, read and written", (first.bytes / 1e9,), "GB/s")


def figures(device: torch.device) -> Iterator[Figure]:
    steps = 10 if device.type == "cuda" else 2
    precisions: tuple[Precision, ...] = ("float32", "tf32", "bfloat16")
    found = {precision: peaks(precision, device) for precision in precisions}
    yield from peaks_told(found)
    adversarial = Adversarial(attack=Attack(steps=steps), mix=1.0)
    student = "WRN-16-2" if size_on(device) is FULL else "a small WRN"
    works: dict[str, tuple[Precision, Callable[[int | None], Work]]] = {
        f"KD step of {student}": ("float32", partial(training, KD(), "float32", device)),
        f"KD step of {student}, bfloat16": (
            "bfloat16",
            partial(training, KD(), "bfloat16", device),
        ),
        f"KD step of {student}, tf32": ("tf32", partial(training, KD(), "tf32", device)),
        f"PGD-{steps} on {student}": ("float32", partial(attacking, steps, device)),
        f"step of {student} on PGD-{steps}": (
            "float32",
            partial(training, adversarial, "float32", device),
        ),
    }
    yield from each_of(
        {
            name: partial(
                beside_bounds, name, work, found[precision], device, size_on(device).repeats
            )
            for name, (precision, work) in works.items()
        }
    )


if __name__ == "__main__":
    run(figures)
