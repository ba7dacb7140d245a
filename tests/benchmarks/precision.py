"""8. Precision and compilation: an epoch beside one in float32 with torch's own kernels and layout.

    python -m tests.benchmarks.precision [--short]

Plain training of WRN-16-2 and KD from a WRN-40-2 whose answers are known, batches of 128 images of
3 x 32 x 32, on one thread, or on a CUDA GPU where there is one. What is compared takes turns.
bfloat16 is another experiment; channels_last and compile are the same one up to rounding: how much
the loss of the first epoch differs is told.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from typing import NamedTuple
from unittest.mock import patch

import torch
from torch import nn

from kdray.data import Dataset, ImageData
from kdray.methods import KD, CrossEntropy, Method
from kdray.models import Model
from kdray.perturbations import Noise
from kdray.teachers import Supervision, TeacherOracle, frozen
from kdray.training import Epoch, State, Training, TrainingSetup
from kdray.training.compute import ComputeOptions, Precision
from kdray.training.loop import Totals, steps_of, train_batches, train_epoch
from tests.benchmarks.distillation import DATA, ONLY, STUDENT, TEACHER, TRAINING, drawn, network
from tests.benchmarks.figures import Figure, run
from tests.benchmarks.measuring import timed

PLAIN = ComputeOptions(channels_last=False)


class Way(NamedTuple):
    """Of computing the student."""

    precision: Precision = "float32"
    kernels: ComputeOptions = PLAIN


WAYS = {
    "bfloat16": Way("bfloat16"),
    "channels_last": Way(kernels=ComputeOptions(channels_last=True)),
    "bfloat16, channels_last": Way("bfloat16", ComputeOptions(channels_last=True)),
    "compile": Way(kernels=ComputeOptions(channels_last=False, compile=True)),
}


class Course:
    """One student in training."""

    def __init__(
        self,
        way: Way,
        method: Method,
        oracle: TeacherOracle | None,
        data: Dataset,
        device: torch.device,
        *,
        student: Model = STUDENT,
        training: Training = TRAINING,
        described: ImageData = DATA,
    ) -> None:
        self._device = device
        classifier = network(student, data).to(device)
        way.kernels.prepare(classifier, way.precision, twice=method.differentiates_twice)
        training = training.model_copy(update={"precision": way.precision})
        self._state = State.before(classifier, nn.Identity(), training)
        self._lesson = TrainingSetup(
            data=described,
            dataset=data.to(device),
            method=method,
            training=training,
            noise=Noise(),
            oracle=oracle,
            seed=0,
            cuda_graph=way.kernels.replays(device, method),
        )
        self._steps = steps_of(self._state, self._lesson, ONLY)

    def epoch(self) -> tuple[float, Epoch]:
        """Seconds of an epoch, always of the same views."""
        return timed(
            lambda: train_epoch(self._state, self._lesson, ONLY, 0, (0,), self._steps), self._device
        )

    def train(self) -> float:
        """Seconds of the steps of such an epoch alone, without its validation."""
        totals = Totals(self._device)
        return timed(
            lambda: train_batches(
                self._state, self._lesson, ONLY, (0,), self._steps, totals, gradients=None
            ),
            self._device,
        )[0]


def compared(method: Method, ways: dict[str, Way], images: int, repeats: int) -> Iterator[Figure]:
    """The epochs of every way against those in float32."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    teacher = frozen(network(TEACHER, drawn(images)).to(device))

    def course(way: Way) -> Course:
        oracle = (
            TeacherOracle(Supervision(), teacher, classes=10, seed=0, name="teacher")
            if method.asks_teacher
            else None
        )
        return Course(way, method, oracle, drawn(images), device)

    courses = {"float32": course(Way()), **{name: course(way) for name, way in ways.items()}}
    first = {
        name: each.epoch() for name, each in courses.items()
    }  # kernels are chosen and compiled, answers asked for
    seconds = {name: [each.epoch()[0] for _ in range(1)] for name, each in courses.items()}
    for _ in range(repeats - 1):
        for name, each in courses.items():
            seconds[name].append(each.epoch()[0])
    for name in ways:
        ratios = tuple(
            one / plain for one, plain in zip(seconds[name], seconds["float32"], strict=True)
        )
        losses = first[name][1].loss, first["float32"][1].loss
        note = f"loss differs by {abs(losses[0] - losses[1]) / losses[1]:.0e}"
        if name == "compile":
            note += f"; compiled in {first[name][0] - seconds[name][0]:.0f} s of CPU time"
        yield Figure(f"{method.name} on {device.type}, {name} / float32", ratios, "x", note=note)


def figures(short: bool) -> Iterator[Figure]:
    torch.set_num_threads(1)
    images, repeats = (256, 2) if short else (512, 4)
    ways = {name: way for name, way in WAYS.items() if not (short and way.kernels.compile)}
    with tempfile.TemporaryDirectory() as folder, patch.dict(os.environ, {"KDRAY_CACHE": folder}):
        yield from compared(CrossEntropy(), ways, images, repeats)
        some = {name: way for name, way in ways.items() if not way.kernels.compile}
        yield from compared(KD(), some, images, repeats)


if __name__ == "__main__":
    run(figures)
