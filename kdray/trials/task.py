"""What is to be done for one trial, and what it says of itself while it is done: values, no
doing."""

from __future__ import annotations

import builtins
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from kdray.core import Several, Value
from kdray.robustness import AnyEvaluation
from kdray.trials.experiment import Experiment, says_something

FAULTS = ("OutOfMemoryError", "AcceleratorError", "WorkerDied", "Damaged", "InputError")
"""Beside Python's OSError and MemoryError: errors of the machine rather than of the experiment,
which the same command tries again. What a user wrote has been checked before the first trial: later
it is a file that this node lacks."""
FEW = 4
"""Numbers of a step that its summary tells."""


class Task(Value):
    """What is to be done for one trial: train it if need be, then measure it."""

    role: Literal["teacher", "student"]
    experiment: Experiment
    evaluations: Several[AnyEvaluation] = ()
    """Only those that are still missing."""
    train: bool = True
    """False: it is trained already, its weights are stored."""
    others: Several[Experiment] = ()
    """The trained trials that evaluations across trials measure it with."""
    retrain_damaged: bool = True
    """Whether weights that turn out to be missing or damaged are trained again, or are the failure
    of this task."""


Outcome = Literal["completed", "failed", "pruned"]
"""Pruned: stopped from outside before it was trained; its checkpoint stays, and it has no row."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """What a trial has just done."""

    kind: Literal["epoch", "trained", "evaluation", "end"]
    text: str
    """For people: "epoch 3/20", "pgd20"."""
    done: int
    """Steps done of ``total``."""
    total: int
    numbers: dict[str, float] = field(default_factory=dict)
    """What this step gave, by name: an epoch's losses, accuracies and speed (named as in the epochs
    table), the accuracies of the trained weights, ``label.metric`` where an evaluation has one
    number for it. On the last step val_accuracy, test_accuracy and those of every evaluation."""
    outcome: Outcome | None = None
    """Set on the last step only."""
    error: str | None = None
    """On the last step: why there is no trained model."""
    failed: dict[str, str] = field(default_factory=dict)
    """On the last step: evaluations that could not be measured, by label, with the reason."""
    recorded: bool = True
    """On the last step: whether whoever did it wrote its rows."""

    @property
    def reasons(self) -> str | None:
        """Everything that went wrong, in one line."""
        listed = [] if self.error is None else [self.error]
        return (
            "; ".join([*listed, *(f"{label}: {reason}" for label, reason in self.failed.items())])
            or None
        )

    @property
    def summary(self) -> str:
        """What was done and what it gave, in one short line."""
        if self.kind == "end":
            return f"end: {self.text}" + (f": {self.reasons}" if self.reasons else "")
        numbers = {
            name.removeprefix(f"{self.text}."): value for name, value in self.numbers.items()
        }
        shown = [f"{name} {value:.5g}" for name, value in numbers.items()]
        if len(shown) > FEW:
            shown[FEW:] = ["…"]
        return f"{self.text}: {', '.join(shown) or 'no numbers'}"


def is_fault(error: str | None) -> bool:
    """Whether a stored error speaks of the machine, so that trying again may help."""
    name = (error or "").partition(":")[0]
    kind = getattr(builtins, name, None)
    if name == "RuntimeError" and (
        "CUDA error" in str(error) or "torch finds no CUDA device" in str(error)
    ):
        return True
    return name in FAULTS or (isinstance(kind, type) and issubclass(kind, OSError | MemoryError))


def measurable(suite: Iterable[AnyEvaluation], experiment: Experiment) -> tuple[AnyEvaluation, ...]:
    """The evaluations that mean something for ``experiment``.

    Without a trained teacher nothing is compared with it, and a model that draws nothing is not
    smoothed without noise: all its passes are the same.
    """
    return tuple(
        e
        for e in suite
        if (experiment.teacher is not None or not e.needs_teacher)
        and says_something(e.smoothing, experiment)
    )


def epochs_of(experiment: Experiment) -> int:
    """Of all stages."""
    return sum(stage.epochs for stage in experiment.method.stages(experiment.training.epochs))
