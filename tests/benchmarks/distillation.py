"""1. Distillation at the price of plain training: an epoch with a teacher beside the student's
plain epoch.

    python -m tests.benchmarks.distillation [--short]

WRN-40-2 teaches WRN-16-2 with KD, batches of 128 images of 3 x 32 x 32, augmented by crops and
flips. The images are drawn, the networks untrained: neither changes what an epoch costs. The four
epochs take turns: plain; the teacher asked for every batch; its answers kept and none known yet
(cold: the price of filling the table is in it); all of them known (warm).
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from unittest.mock import patch

import torch
from torch import nn

from kdray.data import CIFAR10, Dataset, Split
from kdray.methods import KD, CrossEntropy, EpochViews, Method, Stage, Teacher
from kdray.models import Classifier, Model, WideResNet, build, fit
from kdray.perturbations import Noise
from kdray.teachers import Supervision, TeacherOracle, frozen
from kdray.training import State, Training, TrainingSetup
from kdray.training.loop import steps_of, train_epoch
from kdray.training.optimizers import SGD
from tests.benchmarks.figures import Figure, run
from tests.benchmarks.measuring import say, timed

DATA = CIFAR10(augment="crop_flip")
TEACHER, STUDENT = WideResNet(depth=40, width=2), WideResNet(depth=16, width=2)
TRAINING = Training(optimizer=SGD(learning_rate=0.01), epochs=1, batch_size=128)
ONLY = Stage("main", 1)


def drawn(count: int) -> Dataset:
    """Random images, of which 32 are for validation."""
    draws = torch.Generator().manual_seed(0)

    def split(count: int) -> Split:
        images = torch.randint(0, 256, (count, 3, 32, 32), generator=draws, dtype=torch.uint8)
        return Split(images, torch.arange(count) % 10)

    return Dataset(
        split(count), split(32), split(32), torch.full((3,), 0.5), torch.full((3,), 0.25)
    )


def network(model: Model, data: Dataset) -> Classifier:
    return build(model, DATA, fit(DATA, data), seed=0)


class Forgetful(TeacherOracle):
    """Asks for every batch, as all did before answers were kept."""

    def epoch(self, *counters: int, views: EpochViews | None = None) -> Teacher:
        del views
        return super().epoch(*counters)


class Course:
    """One student, and how it is taught."""

    def __init__(self, data: Dataset, method: Method, oracle: TeacherOracle | None) -> None:
        classifier = network(STUDENT, data)
        self._state = State.before(classifier, nn.Identity(), TRAINING)
        self._lesson = TrainingSetup(
            data=DATA,
            dataset=data,
            method=method,
            training=TRAINING,
            noise=Noise(),
            oracle=oracle,
            seed=0,
        )
        self._steps = steps_of(self._state, self._lesson, ONLY)

    def epoch(self) -> float:
        """Seconds of one epoch, always of the same views."""
        return timed(lambda: train_epoch(self._state, self._lesson, ONLY, 0, (0,), self._steps))[0]


def figures(short: bool) -> Iterator[Figure]:
    images, repeats = (512, 2) if short else (2048, 2)
    torch.set_num_threads(
        1
    )  # the clock is then that of its CPU, which a busy machine hardly changes
    data = drawn(images)
    teacher = frozen(network(TEACHER, data))

    def taught(kind: type[TeacherOracle], name: str | None, data: Dataset = data) -> Course:
        return Course(data, KD(), kind(Supervision(), teacher, classes=10, seed=0, name=name))

    with tempfile.TemporaryDirectory() as folder, patch.dict(os.environ, {"KDRAY_CACHE": folder}):
        plain, asked = Course(data, CrossEntropy(), None), taught(Forgetful, None)
        taught(
            TeacherOracle, "few", drawn(2 * TRAINING.batch_size)
        ).epoch()  # torch has made its kernels then
        seconds: dict[str, list[float]] = {"plain": [], "asked": [], "cold": [], "warm": []}
        for turn in range(repeats):
            cold = taught(TeacherOracle, f"table {turn}")
            for name, course in (
                ("plain", plain),
                ("asked", asked),
                ("cold", cold),
                ("warm", cold),
            ):
                seconds[name].append(course.epoch())
                say(f"{name}: {seconds[name][-1]:.2f} s ({turn + 1}/{repeats})")

    def ratio(name: str, to: str) -> tuple[float, ...]:
        return tuple(one / other for one, other in zip(seconds[name], seconds[to], strict=True))

    what = f"KD, WRN-40-2 to WRN-16-2, {images} images"
    yield Figure(f"plain epoch of WRN-16-2, {images} images", tuple(seconds["plain"]), "s")
    yield Figure(f"{what}: all answers known / plain epoch", ratio("warm", "plain"), "x", "<= 1.10")
    yield Figure(
        f"{what}: teacher asked for every batch / plain epoch", ratio("asked", "plain"), "x"
    )
    yield Figure(
        f"{what}: no answer known, table filled / plain epoch", ratio("cold", "plain"), "x"
    )
    yield from pays(seconds, DATA.augmentation.variants)


def pays(seconds: dict[str, list[float]], variants: int) -> Iterator[Figure]:
    """The first epoch after which a single trial has spent less than one that asks for every batch.

    Of v variants an image shows one in an epoch, so that of epoch e (from 0) a part of (1 - 1/v)^e
    is new.
    """
    cost = {name: sum(each) / len(each) for name, each in seconds.items()}
    for name, count in (("none", 1), ("flip", 2), ("crop_flip", variants)):
        saved, epoch = 0.0, 0
        while saved <= 0 and epoch < 1000:
            new = (1 - 1 / count) ** epoch
            saved += cost["asked"] - cost["warm"] - new * (cost["cold"] - cost["warm"])
            epoch += 1
        note = "a single trial; of several on a node the first one pays"
        yield Figure(
            f"augment {name}: epoch from which keeping answers pays",
            (float(epoch),),
            "epochs",
            note=note,
        )


if __name__ == "__main__":
    run(figures)
