"""What corruptions cost against the reference's, image by image, and what each evaluation costs beside an epoch of training."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

import numpy as np
import torch

from kdray.core import InputError, Value, canonical, canonical_json, tag_of, value_types
from kdray.methods import CrossEntropy
from kdray.optimizers import SGD
from kdray.perturbations.corruptions import CORRUPTIONS, SEVERITIES, corrupt
from kdray.robustness import AnyEvaluation, Evaluation, Subject, measurements
from kdray.robustness.base import BLOCK
from kdray.teachers import frozen
from kdray.training import State, Training, train
from tests.benchmarks.measuring import median_of, say, spread, table, timed
from tests.benchmarks.networks import DATA, attacked, dataset, lesson, trained, untrained
from tests.benchmarks.peers import reference_corruptions
from tests.contracts.members import FIELDS

EVALUATED = BLOCK
REFERENCE_IMAGES = 100
FEWER: dict[str, dict[str, Any]] = {
    "certified_radius": {"selection": 10, "samples": 100},
    "out_of_distribution": {"examples": EVALUATED},
}
"""Instead of defaults: of what would take longer than all others together, and of what brings its own images."""


def corruptions(make_cifar_c: Path | None) -> None:
    """Milliseconds an image of every kind, averaged over severities; the reference's where its script is at hand."""
    images, _ = attacked(BLOCK)
    draws = torch.Generator().manual_seed(0)
    ours = {}
    for kind in CORRUPTIONS:
        ours[kind] = [median_of(lambda k=kind, s=s: corrupt(images, k, s, draws), 3) / len(images) for s in SEVERITIES]
        say(f"kdray {kind}: {1e3 * np.mean(ours[kind]):.3f} ms an image")
    theirs: dict[str, list[float]] = {}
    if make_cifar_c is not None:
        levels = (images[:REFERENCE_IMAGES] * 255).round().byte().movedim(1, 3).numpy()
        theirs = reference_corruptions(make_cifar_c, levels)
    rows = [
        _against(kind, float(np.mean(ours[kind])), float(np.mean(theirs[kind])) if theirs else None) for kind in CORRUPTIONS
    ]
    means = [float(np.mean(list(times.values()))) for times in (ours, theirs) if times]
    rows.append(_against(f"all {len(CORRUPTIONS)} kinds x 5", means[0], means[1] if theirs else None))
    made = f"kdray in batches of {BLOCK} (median of 3)"
    if theirs:
        made += f", make_cifar_c.py on {REFERENCE_IMAGES} images one by one"
    else:
        made += "; make_cifar_c.py is not at hand (--make-cifar-c FOLDER)"
    table(
        f"3. Corruptions of 3 x 32 x 32 digits, mean over severities: {made}",
        ("kind", "kdray ms/image", "kdray images/s", "reference ms/image", "reference / kdray"), rows,
    )  # fmt: skip


def _against(name: str, ours: float, theirs: float | None) -> tuple[str, ...]:
    compared = ("-", "-") if theirs is None else (f"{1e3 * theirs:.3f}", f"{theirs / ours:.1f}")
    return name, f"{1e3 * ours:.3f}", f"{1 / ours:.0f}", *compared


def suite() -> None:
    """Seconds of every evaluation with its defaults, as multiples of one epoch of plain training on as many images.

    Of an undefended network: attacks that leave out what is broken take longer where more is standing.
    """
    data = dataset()
    few = data._replace(train=data.train.first(EVALUATED), val=data.val.first(10))
    training = Training(optimizer=SGD(learning_rate=0.01), epochs=4, batch_size=128)
    state = State.before(untrained("WRN-16-2"), torch.nn.Identity(), training)
    taught = train(state, lesson(CrossEntropy(), training, few))
    _, *epochs = (timed(lambda: next(taught))[0] for _ in range(training.epochs))
    epoch = statistics.median(epochs)
    say(f"one epoch of WRN-16-2 on {EVALUATED} images: {spread(epochs)} s")
    classifier, teacher = trained("WRN-16-2", False).classifier, frozen(untrained("WRN-16-2"))
    subject = Subject(
        classifier, data.test.first(EVALUATED), teacher=teacher, data=DATA,
        others={"itself": lambda: classifier, "another": lambda: teacher},
    )  # fmt: skip
    rows, total = [], 0.0
    for evaluation in evaluations():
        described = canonical_json(evaluation)
        if reason := _impossible(evaluation):
            rows.append((_name(evaluation), "-", "-", f"not here: {reason}"))
            continue
        seconds, _ = timed(lambda e=evaluation: measurements(e, subject))
        say(f"{_name(evaluation)}: {seconds:.1f} s")
        rows.append((_name(evaluation), f"{seconds:.2f}", f"{seconds / epoch:.1f}", described))
        total += seconds
    rows.append(("all", f"{total:.2f}", f"{total / epoch:.1f}", ""))
    table(
        f"4. Evaluations of WRN-16-2 on {len(subject.split.labels)} images of 3 x 32 x 32; one epoch of plain training on "
        f"as many: {spread(epochs)} s",
        ("evaluation", "seconds", "epochs", "what was measured"), rows, texts=(0, 3),
    )  # fmt: skip


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


def _name(evaluation: Evaluation) -> str:
    return str(canonical(evaluation)["name"])
