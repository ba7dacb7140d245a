"""5. The full suite: seconds of each evaluation of ``sweeps/suites/full.yaml`` for one model.

    python -m tests.gpu.check.suite [--device cpu]

WRN-16-2, trained for three epochs on digits of 3 x 32 x 32 without a defence, so that attacks that
leave out what is broken take less than on a robust one. As many images as CIFAR-10's test set has:
the test images of the digits, over and over. On a CPU a small network, and the suite that
``--smoke`` makes of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import torch
from torch import nn

from kdray.core import InputError, parse
from kdray.core.yaml import read_yaml
from kdray.data import Split
from kdray.methods import CrossEntropy
from kdray.models import Classifier
from kdray.robustness import Evaluation, Subject, label_of, measurements
from kdray.sweep.definition.file import Suite
from kdray.sweep.definition.smoke import shrink
from kdray.teachers import frozen
from kdray.training import State, Training, train
from kdray.training.optimizers import Adam, Cosine
from tests.benchmarks.figures import Figure
from tests.benchmarks.measuring import timed
from tests.benchmarks.networks import DATA, Name, dataset, setup, untrained
from tests.gpu.check.part import each_of, left_out, run

FULL = Path(__file__).parents[3] / "sweeps" / "suites" / "full.yaml"
IMAGES = 10_000
EPOCHS = 3


def suite(device: torch.device) -> tuple[Evaluation, ...]:
    """The evaluations of the file; on a CPU as ``--smoke`` has them."""
    written = read_yaml(FULL)
    if device.type == "cpu":
        written = shrink({"evaluate": {"suite": written}})["evaluate"]["suite"]
    return parse(Suite, {"suite": written}).suite


def taught(name: Name, epochs: int, device: torch.device) -> Classifier:
    """A network trained on the digits."""
    training = Training(
        optimizer=Adam(learning_rate=0.002), schedule=Cosine(), epochs=epochs, batch_size=64
    )
    state = State.before(untrained(name).to(device), nn.Identity(), training)
    for _ in train(state, setup(CrossEntropy(), training, dataset().to(device))):
        pass
    return frozen(state.classifier)


def repeated(split: Split, count: int) -> Split:
    """``count`` images: those of ``split``, over and over."""
    return split.take(torch.arange(count) % len(split.labels))


def subject(device: torch.device) -> Subject:
    """What is measured."""
    name: Name = "WRN-16-2" if device.type == "cuda" else "small CNN"
    classifier = taught(name, EPOCHS if device.type == "cuda" else 1, device)
    test = dataset().test
    split = repeated(test, IMAGES) if device.type == "cuda" else test.first(40)
    other = frozen(untrained(name).to(device))
    return Subject(
        classifier,
        split.to(device),
        teacher=other,
        data=DATA,
        others={"itself": lambda: classifier, "another": lambda: other},
    )


def impossible(evaluation: Evaluation) -> str | None:
    """Why it cannot be measured here: what it needs is not installed, or does not fit digits."""
    try:
        evaluation.check(DATA, Path())
    except InputError as error:
        return str(error)
    return evaluation.misfit(DATA)


def figures(device: torch.device) -> Iterator[Figure]:
    measured, seconds = subject(device), []

    def one(evaluation: Evaluation) -> Iterator[Figure]:
        what = label_of(evaluation)
        if reason := impossible(evaluation):
            yield left_out(what, f"not here: {reason}")
            return
        spent, found = timed(partial(measurements, evaluation, measured), device)
        for error in (each.error for each in found):
            if error is not None:
                raise error
        seconds.append(spent)
        yield Figure(what, (spent,), "s", note=f"{len(found)} numbers")

    cases = {label_of(evaluation): partial(one, evaluation) for evaluation in suite(device)}
    yield from each_of(cases)
    note = f"{len(seconds)} of {len(cases)} evaluations, {len(measured.split.labels)} images"
    yield Figure("the whole suite", (sum(seconds),), "s", note=note)


if __name__ == "__main__":
    run(figures)
