"""What the parts of the check have in common: their sizes, their options, a student in training,
and what becomes of a measurement that fails."""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple
from unittest.mock import patch

import torch

from kdray.core import describe
from kdray.data import ImageData
from kdray.machine import hardware
from kdray.methods import Method
from kdray.models import Model, WideResNet
from kdray.teachers import Supervision, TeacherOracle, frozen
from tests.benchmarks.distillation import DATA, TRAINING, drawn, network
from tests.benchmarks.figures import Figure, follow
from tests.benchmarks.precision import Course, Way

NEEDS_CUDA = "needs CUDA"
Measure = Callable[[torch.device], Iterator[Figure]]
"""Yields the figures of a part on a device."""


class Size(NamedTuple):
    """How much of everything."""

    student: Model
    teacher: Model
    images: int
    """In an epoch."""
    batch: int
    repeats: int

    def steps(self, count: int) -> Size:
        """The same with ``count`` steps in an epoch."""
        return self._replace(images=count * self.batch)


FULL = Size(WideResNet(depth=16, width=2), WideResNet(depth=40, width=2), 8192, 128, 5)
TINY = Size(WideResNet(depth=10, width=1), WideResNet(depth=10, width=1), 32, 16, 2)


def size_on(device: torch.device) -> Size:
    """That of the check; on a CPU, where it is only tried, a tiny one."""
    return FULL if device.type == "cuda" else TINY


def course(
    method: Method,
    device: torch.device,
    size: Size | None = None,
    way: Way | None = None,
    described: ImageData = DATA,
) -> Course:
    """A student in training; what its teacher says is known from the second epoch on."""
    size = size or size_on(device)
    data, oracle = drawn(size.images), None
    if method.asks_teacher:
        teacher = frozen(network(size.teacher, data).to(device))
        oracle = TeacherOracle(Supervision(), teacher, classes=10, seed=0, name="teacher")
    training = TRAINING.model_copy(update={"batch_size": size.batch})
    return Course(
        way or Way(),
        method,
        oracle,
        data,
        device,
        student=size.student,
        training=training,
        described=described,
    )


def left_out(what: str, reason: str = NEEDS_CUDA) -> Figure:
    """In place of what cannot be measured here."""
    return Figure(what, (), "", note=reason)


class CaseFailed(Exception):
    """Some of the cases of a part raised an error."""


def each_of(cases: Mapping[str, Callable[[], Iterator[Figure]]]) -> Iterator[Figure]:
    """The figures of every case. One that raises an error has a line that says so and keeps no
    other from being measured; :class:`CaseFailed` at the end."""
    failed = []
    for name, case in cases.items():
        try:
            yield from case()
        except Exception as error:
            traceback.print_exc()
            failed.append(name)
            yield left_out(name, f"failed: {describe(error)}")
    if failed:
        raise CaseFailed(", ".join(failed))


def run(measure: Measure) -> None:
    """What ``python -m tests.gpu.check.PART [--device cpu] [--json FILE]`` does."""
    whole = sys.modules[measure.__module__].__doc__ or ""
    parser = argparse.ArgumentParser(description=whole.partition("\n")[0])
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write the figures there, one a line"
    )
    asked = parser.parse_args()
    device = torch.device("cuda", 0) if asked.device == "cuda" else torch.device("cpu")
    with TemporaryDirectory() as folder, patch.dict(os.environ, {"KDRAY_CACHE": folder}):
        hardware.make_repeatable(device, 1)
        clock = partial(hardware.device_name, device)
        follow(measure(device), parser.description or "", asked.json, clock)
