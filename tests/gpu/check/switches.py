"""6. What each switch gains, and what bit-exactness costs: epochs with it by epochs without.

    python -m tests.gpu.check.switches [--device cpu]

KD from WRN-40-2 to WRN-16-2, the answers known, batches of 128; L_G where the teacher's input
gradients are read ahead. Both take turns. Below 1 is faster with the switch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
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
from tests.gpu.check.part import course, each_of, left_out, run, size_on


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
GRAPH = ComputeOptions(channels_last=False, cuda_graph=True)


class Switch(NamedTuple):
    """What is compared."""

    on: Side
    off: Side = PLAIN
    needs_cuda: bool = True


SWITCHES = {
    "bit for bit the same again": Switch(PLAIN, Side(around=not_repeatable)),
    "no fills of fresh memory": Switch(PLAIN, Side(around=filling_memory)),
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
    "cuda_graph": Switch(Side(Way(kernels=GRAPH))),
    "cuda_graph with bfloat16 and channels_last": Switch(
        Side(Way("bfloat16", ComputeOptions(channels_last=True, cuda_graph=True)))
    ),
}


def plain(device: torch.device) -> Iterator[Figure]:
    """The speed that switches are compared with, mostly."""
    trained = PLAIN.course(device)
    PLAIN.seconds(trained)
    size = size_on(device)
    rates = tuple(size.images / PLAIN.seconds(trained) for _ in range(size.repeats))
    yield Figure("KD, no switch", rates, "images/s")


def gain(name: str, switch: Switch, device: torch.device) -> Iterator[Figure]:
    """Epochs with a switch by epochs without, in turns."""
    if switch.needs_cuda and device.type != "cuda":
        yield left_out(name)
        return
    on, off = switch.on.course(device), switch.off.course(device)
    turns = [
        (switch.on.seconds(on), switch.off.seconds(off)) for _ in range(1 + size_on(device).repeats)
    ]
    # In the first kernels are chosen, the teacher is asked and graphs are captured.
    ratios = tuple(with_it / without for with_it, without in turns[1:])
    yield Figure(f"{name}: with / without", ratios, "x")


def figures(device: torch.device) -> Iterator[Figure]:
    gains = {name: partial(gain, name, switch, device) for name, switch in SWITCHES.items()}
    yield from each_of({"KD, no switch": partial(plain, device), **gains})


if __name__ == "__main__":
    run(figures)
