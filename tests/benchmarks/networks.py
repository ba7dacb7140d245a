"""What is attacked: two networks, each trained plainly and adversarially on digits of 3 x 32 x 32
that ship with kdray."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from kdray.core import seeds
from kdray.data import Dataset, Digits
from kdray.machine.hardware import cpus
from kdray.methods import CrossEntropy, Method
from kdray.methods.adversarial import Adversarial
from kdray.methods.attack import Attack
from kdray.models import Classifier, Network, Outputs, WideResNet, build, fit
from kdray.perturbations import Noise
from kdray.teachers import frozen
from kdray.training import State, Training, TrainingSetup, train
from kdray.training.optimizers import Adam, Cosine
from tests.benchmarks.measuring import say

Name = Literal["small CNN", "WRN-16-2"]
DATA = Digits(resize=32, channels=3)
EPSILON = 0.18
"""linf: breaks the plainly trained networks, and about half of the images of the others."""
STEP_SIZE = EPSILON / 8
TRAINED_WITH = 0.15
"""Epsilon of adversarial training; at 0.2 the small network may learn nothing."""
EPOCHS: dict[tuple[Name, bool], int] = {
    ("small CNN", False): 6,
    ("small CNN", True): 20,
    ("WRN-16-2", False): 3,
    ("WRN-16-2", True): 5,
}
"""By network, and whether it is trained adversarially."""


class SmallCNN(Network):
    """Three convolutions of stride 2 (16, 32 and 64 channels) and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        channels = (3, 16, 32, 64)
        self.convolutions = nn.ModuleList(nn.Conv2d(a, b, 3, 2, 1) for a, b in pairwise(channels))
        self.head = nn.Linear(64 * 4 * 4, DATA.classes)

    def forward(self, images: Tensor) -> Outputs:
        x, stages = images, []
        for convolution in self.convolutions:
            x = functional.relu(convolution(x))
            stages.append(x)
        embedding = x.flatten(1)
        return Outputs(self.head(embedding), tuple(stages), embedding)


class Logits(nn.Module):
    """A classifier as other libraries want it: images in [0, 1] in, logits out."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier.logits(images)


@dataclass(frozen=True)
class Target:
    """A trained network."""

    name: Name
    robust: bool
    classifier: Classifier

    def __str__(self) -> str:
        return f"{self.name}, {'adversarially trained' if self.robust else 'undefended'}"


def dataset() -> Dataset:
    return DATA.load(Path())


def untrained(name: Name) -> Classifier:
    normalization = fit(DATA, dataset())
    if name == "WRN-16-2":
        return build(WideResNet(depth=16, width=2), DATA, normalization, seed=0)
    with seeds.ambient(0, "model"):
        return Classifier(SmallCNN(), normalization)


def setup(method: Method, training: Training, data: Dataset) -> TrainingSetup:
    return TrainingSetup(
        data=DATA,
        dataset=data,
        method=method,
        training=training,
        noise=Noise(),
        oracle=None,
        seed=0,
    )


@contextmanager
def every_cpu() -> Iterator[None]:
    """As many threads as there are CPUs, for what is not timed."""
    before = torch.get_num_threads()
    torch.set_num_threads(cpus())
    try:
        yield
    finally:
        torch.set_num_threads(before)


@cache
def trained(name: Name, robust: bool) -> Target:
    """PGD with 3 steps on every batch, and nothing else, for a robust one."""
    attack = Attack(epsilon=TRAINED_WITH, step_size=TRAINED_WITH / 2, steps=3)
    method: Method = Adversarial(attack=attack, mix=1.0) if robust else CrossEntropy()
    training = Training(
        optimizer=Adam(learning_rate=0.002),
        schedule=Cosine(),
        epochs=EPOCHS[name, robust],
        batch_size=64,
    )
    target = Target(name, robust, untrained(name))
    state = State.before(target.classifier, nn.Identity(), training)
    with every_cpu():
        for epoch in train(state, setup(method, training, dataset())):
            say(
                f"training {target}: epoch {epoch.epoch}/{training.epochs}, val_accuracy "
                f"{epoch.val_accuracy:.2f}"
            )
    frozen(target.classifier)
    return target


def attacked(examples: int) -> tuple[Tensor, Tensor]:
    """The first test images in [0, 1], and their labels."""
    test = dataset().test.first(examples)
    return test.images.float() / 255, test.labels
