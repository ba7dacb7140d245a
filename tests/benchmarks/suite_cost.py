"""What corruptions cost against the reference's, image by image, and what each evaluation costs
beside an epoch of training."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from kdray.core import InputError, Value, canonical, tag_of, value_types
from kdray.methods import CrossEntropy
from kdray.perturbations.corruptions import CORRUPTIONS, SEVERITIES, corrupt
from kdray.robustness import AnyEvaluation, Evaluation, Subject, measurements
from kdray.robustness.base import BLOCK
from kdray.teachers import frozen
from kdray.training import State, Training, train
from kdray.training.optimizers import SGD
from tests.benchmarks.figures import Figure
from tests.benchmarks.measuring import say, table, timed
from tests.benchmarks.networks import DATA, attacked, dataset, setup, trained, untrained
from tests.benchmarks.peers import reference_corruptions
from tests.contracts.members import FIELDS

REPEATS = 3
EVALUATED = 64
REFERENCE_IMAGES = 100
FEWER: dict[str, dict[str, Any]] = {
    "certified_radius": {"selection": 10, "samples": 100},
    "out_of_distribution": {"examples": EVALUATED},
}
"""Instead of defaults: of what would take longer than all others together, and of what brings its
own images."""


def corruptions(make_cifar_c: Path | None) -> Iterator[Figure]:
    """Of every kind at every severity; the reference's where its script is at hand. A table has the
    kinds one by one."""
    images, _ = attacked(BLOCK)
    ours = {kind: _milliseconds(kind, images) for kind in CORRUPTIONS}
    theirs: dict[str, float] = {}
    if make_cifar_c is not None:
        levels = (images[:REFERENCE_IMAGES] * 255).round().byte().movedim(1, 3).numpy()
        found = reference_corruptions(make_cifar_c, levels)
        theirs = {kind: 1e3 * float(np.mean(found[kind])) for kind in CORRUPTIONS}
    head = ("kind", "kdray ms/image", "reference ms/image", "reference / kdray")
    rows = [
        (
            kind,
            f"{np.median(each):.3f}",
            *(_compared(float(np.median(each)), theirs[kind]) if theirs else ("-", "-")),
        )
        for kind, each in ours.items()
    ]
    table(
        f"Corruptions of 3 x 32 x 32 digits, mean over severities, in batches of {BLOCK}",
        head,
        rows,
    )
    means = np.mean(list(ours.values()), axis=0)
    *_, second, first = sorted(CORRUPTIONS, key=lambda kind: float(np.median(ours[kind])))
    share = (np.median(ours[first]) + np.median(ours[second])) / (
        np.median(means) * len(CORRUPTIONS)
    )
    absent = "" if theirs else "; not measured: make_cifar_c.py (folder that MAKE_CIFAR_C names)"
    what = f"{len(CORRUPTIONS)} corruptions x {len(SEVERITIES)} severities"
    yield Figure(
        f"{what}, mean",
        tuple(means.tolist()),
        "ms/image",
        None,
        f"3 x 32 x 32, {BLOCK} at once; {share:.2f} of it are {first} and {second}{absent}",
    )
    if theirs:
        ratios = np.mean(list(theirs.values())) / means
        yield Figure(
            f"{what}: make_cifar_c.py / kdray",
            tuple(ratios.tolist()),
            "x",
            ">= 20",
            f"the reference on {REFERENCE_IMAGES} images, one by one",
        )


def _milliseconds(kind: str, images: torch.Tensor) -> list[float]:
    """For an image, averaged over severities; once for each repeat, after one that does not
    count."""
    draws = torch.Generator().manual_seed(0)
    spent = [
        sum(timed(lambda s=severity: corrupt(images, kind, s, draws))[0] for severity in SEVERITIES)
        for _ in range(1 + REPEATS)
    ]
    return [1e3 * seconds / len(SEVERITIES) / len(images) for seconds in spent[1:]]


def _compared(ours: float, theirs: float) -> tuple[str, str]:
    return f"{theirs:.3f}", f"{theirs / ours:.1f}"


def suite() -> Iterator[Figure]:
    """Every evaluation with its defaults, as multiples of one epoch of plain training on as many
    images.

    Of an undefended network: attacks that leave out what is broken take longer where more is
    standing.
    """
    data = dataset()
    few = data._replace(train=data.train.first(EVALUATED), val=data.val.first(10))
    training = Training(optimizer=SGD(learning_rate=0.01), epochs=6, batch_size=EVALUATED)
    state = State.before(untrained("WRN-16-2"), torch.nn.Identity(), training)
    taught = train(state, setup(CrossEntropy(), training, few))
    _, *epochs = (timed(lambda: next(taught))[0] for _ in range(training.epochs))
    epoch = statistics.median(epochs)
    yield Figure(
        f"epoch of plain training of WRN-16-2 on {EVALUATED} images of 3 x 32 x 32",
        tuple(epochs),
        "s",
    )
    classifier, teacher = trained("WRN-16-2", False).classifier, frozen(untrained("WRN-16-2"))
    subject = Subject(
        classifier,
        data.test.first(EVALUATED),
        teacher=teacher,
        data=DATA,
        others={"itself": lambda: classifier, "another": lambda: teacher},
    )
    total, impossible = 0.0, []
    for evaluation in evaluations():
        described = dict(canonical(evaluation))
        name = described.pop("name")
        if reason := _impossible(evaluation):
            say(f"{name}: not here: {reason}")
            impossible.append(name)
            continue
        seconds, _ = timed(lambda e=evaluation: measurements(e, subject))
        total += seconds
        yield Figure(
            f"{name} of an undefended WRN-16-2 / that epoch",
            (seconds / epoch,),
            "epochs",
            None,
            ", ".join(f"{key} {value}" for key, value in described.items()) or "defaults",
        )
    yield Figure(
        "all of these evaluations / that epoch",
        (total / epoch,),
        "epochs",
        None,
        f"not measured, for want of their data: {', '.join(impossible)}" if impossible else "",
    )


def _impossible(evaluation: Evaluation) -> str | None:
    """Why it cannot be measured with nothing but digits."""
    try:
        evaluation.check(DATA, Path())
    except InputError as error:
        return str(error)
    return evaluation.misfit(DATA)


def evaluations() -> list[Evaluation]:
    """Every one, with its defaults where it has them."""
    return [_instance(kind) for kind in value_types(AnyEvaluation)]


def _instance(kind: type[Value]) -> Any:
    required = {name for name, field in kind.model_fields.items() if field.is_required()}
    needed = FIELDS.get(kind, {}) if required else {}
    return kind(**{**needed, **FEWER.get(tag_of(kind) or "", {})})
