"""6. What each switch gains, and what bit-exactness costs: epochs with it by epochs without.

    python -m tests.gpu.check.switches [--device cpu]

KD from WRN-40-2 to WRN-16-2, the answers known, batches of 128; L_G where the teacher's input
gradients are read ahead. All take turns in one run. Below 1 is faster with the switch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import NamedTuple
from unittest.mock import patch

import torch

from kdray.data import CIFAR10
from kdray.methods import KD, GradientMatching, Method
from kdray.teachers.logits_cache import READS_AHEAD
from kdray.training import optimizers
from kdray.training.compute import ComputeOptions
from tests.benchmarks.distillation import DATA
from tests.benchmarks.figures import Figure
from tests.benchmarks.precision import Course, Way
from tests.gpu.check.part import course, left_out, run, size_on


class Side(NamedTuple):
    """One way to train."""

    way: Way = Way()
    method: Method = KD()
    around: Callable[[], AbstractContextManager[object]] = nullcontext
    """Within it a course is made and its epochs are trained."""
    times: int = 1
    """How many times as many images an epoch has."""

    def course(self, device: torch.device) -> Course:
        size = size_on(device)
        size = size._replace(images=self.times * size.images)
        # Gradients are kept, and read ahead, only where an image has few views.
        described = FLIPPED if self.method.differentiates_twice else DATA
        with self.around():
            return course(self.method, device, size, self.way, described)

    def seconds(self, trained: Course) -> float:
        """Of the steps of an epoch."""
        with self.around():
            return trained.train()


@contextmanager
def not_repeatable() -> Iterator[None]:
    """Within it kernels are chosen for their speed alone."""
    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.benchmark = True
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(True)
        torch.backends.cudnn.benchmark = False


@contextmanager
def filling_memory() -> Iterator[None]:
    """Within it fresh tensors are filled, as torch does unless it is told not to."""
    torch.utils.deterministic.fill_uninitialized_memory = True  # type: ignore[attr-defined]
    try:
        yield
    finally:
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def unfused() -> AbstractContextManager[object]:
    """Within it optimisers are made that step in torch's own way."""
    return patch.object(optimizers, "fuses", lambda module: None)


def not_reading_ahead() -> AbstractContextManager[object]:
    """Within it windows of answers are read when they are needed."""
    return patch.dict(READS_AHEAD, dict.fromkeys(READS_AHEAD, False))


def reading_ahead() -> AbstractContextManager[object]:
    """Within it they are read in another thread before."""
    return patch.dict(READS_AHEAD, dict.fromkeys(READS_AHEAD, True))


PLAIN = Side()
FLIPPED = CIFAR10(augment="flip")
WINDOWS = 3
"""Times the images of an epoch, so that there are several windows of gradients in one."""
LAST = ComputeOptions(channels_last=True)


class Switch(NamedTuple):
    """What is compared."""

    on: Side
    off: Side = PLAIN
    needs_cuda: bool = True


SWITCHES = {
    "bit for bit the same again": Switch(PLAIN, Side(around=not_repeatable)),
    "no fills of fresh memory": Switch(PLAIN, Side(around=filling_memory)),
    "cuda_graph": Switch(Side(Way(kernels=ComputeOptions(channels_last=False, cuda_graph=True)))),
    "tf32": Switch(Side(Way("tf32"))),
    "bfloat16": Switch(Side(Way("bfloat16")), needs_cuda=False),
    "bfloat16 with channels_last": Switch(Side(Way("bfloat16", LAST)), needs_cuda=False),
    "channels_last in float32": Switch(Side(Way(kernels=LAST)), needs_cuda=False),
    "fused optimiser": Switch(PLAIN, Side(around=unfused)),
    "answers read ahead (L_G)": Switch(
        Side(method=GradientMatching(), around=reading_ahead, times=WINDOWS),
        Side(method=GradientMatching(), around=not_reading_ahead, times=WINDOWS),
        needs_cuda=False,
    ),
}


def figures(device: torch.device) -> Iterator[Figure]:
    possible = {
        name: switch
        for name, switch in SWITCHES.items()
        if device.type == "cuda" or not switch.needs_cuda
    }
    sides = {
        side: side.course(device) for each in possible.values() for side in (each.on, each.off)
    }
    for side, trained in sides.items():  # kernels are chosen, answers asked for, graphs captured
        side.seconds(trained)
    seconds: dict[Side, list[float]] = {side: [] for side in sides}
    for _ in range(size_on(device).repeats):
        for side, trained in sides.items():
            seconds[side].append(side.seconds(trained))
    plain = tuple(size_on(device).images / each for each in seconds.get(PLAIN, ()))
    yield Figure("KD, no switch", plain, "images/s")
    for name, switch in SWITCHES.items():
        if name not in possible:
            yield left_out(name)
            continue
        ratios = zip(seconds[switch.on], seconds[switch.off], strict=True)
        yield Figure(f"{name}: with / without", tuple(on / off for on, off in ratios), "x")


if __name__ == "__main__":
    run(figures)
