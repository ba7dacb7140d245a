"""What makes one point better than another: objectives and constraints, over the seeds of a
point."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean, stdev
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from kdray.core import Several, Value
from kdray.results.metrics import SIZES, Mode

Numbers = Sequence[Mapping[str, float]]
"""Of every seed of a point: metric to value."""


class Objective(Value):
    """What the search improves: a number on the validation split, or the network's size, over a
    point's seeds."""

    metric: str = "val_accuracy"
    """val_accuracy, ``label.metric`` of an evaluation on val, or parameters, weights, macs."""
    mode: Mode = "max"
    over_seeds: Literal["mean", "worst", "mean_minus_sd"] = "mean"
    """What the seeds of a point count as: their mean, the worst of them, or the mean less
    ``deviations`` standard deviations (ddof 1; more, where less is better)."""
    deviations: Annotated[float, Field(gt=0)] = 1.0
    """k of mean_minus_sd."""

    @model_validator(mode="after")
    def _deviates(self) -> Self:
        if self.deviations != 1.0 and self.over_seeds != "mean_minus_sd":
            raise ValueError("deviations: only over_seeds: mean_minus_sd has a use for it")
        return self

    def of(self, numbers: Iterable[Mapping[str, float]]) -> float:
        """What a point counts as, from the numbers of each of its seeds."""
        values = [each[self.metric] for each in numbers]
        match self.over_seeds:
            case "mean":
                return fmean(values)
            case "worst":
                return min(values) if self.mode == "max" else max(values)
            case "mean_minus_sd":
                margin = self.deviations * stdev(values)
                return fmean(values) - (margin if self.mode == "max" else -margin)


_CONSTRAINT = re.compile(r"\s*(?P<metric>[^\s<>=]+)\s*(?P<relation><=|>=)\s*(?P<bound>\S+)\s*")


DIGITS = 12
"""Points differ if these digits of their values do."""


def _checked(text: str) -> str:
    found = _CONSTRAINT.fullmatch(text)
    try:
        finite = found is not None and math.isfinite(float(found["bound"]))
    except ValueError:
        finite = False
    if not finite:
        raise ValueError(
            f"{text!r} is no constraint (allowed: 'METRIC >= NUMBER' or 'METRIC <= NUMBER')"
        )
    return text


Constraint = Annotated[str, AfterValidator(_checked)]
"""``val_accuracy >= 0.9``: what the mean over a point's seeds must keep to."""


def to_compare(value: float) -> float:
    """The digits of a point's value by which it is compared with others': the mean of the same
    numbers depends a little on their order."""
    return float(f"{value:.{DIGITS}g}")


def is_better(one: float, other: float, mode: Mode) -> bool:
    """Whether a point's value is better than another's, by more than rounding."""
    mine, its = to_compare(one), to_compare(other)
    return mine > its if mode == "max" else mine < its


def metric_of(constraint: Constraint) -> str:
    """What a constraint is about."""
    return _parts(constraint)[0]


def violation(constraint: Constraint, numbers: Numbers) -> float:
    """By how much the mean over the seeds misses the constraint; 0 or below where it is kept."""
    metric, relation, bound = _parts(constraint)
    missed = bound - fmean(each[metric] for each in numbers)
    return missed if relation == ">=" else -missed


def _parts(constraint: Constraint) -> tuple[str, str, float]:
    found = _CONSTRAINT.fullmatch(constraint)
    assert found is not None  # validated
    return found["metric"], found["relation"], float(found["bound"])


class Score(Value):
    """What a point is worth."""

    values: Several[float]
    """By objective."""
    violations: Several[float] = ()
    """By constraint; above 0 where it is not kept."""

    @property
    def feasible(self) -> bool:
        return all(missed <= 0 for missed in self.violations)


class Objectives(Value):
    """Everything by which points are compared."""

    objectives: Several[Objective]
    constraints: Several[Constraint] = ()
    seeds: int | None = None
    """Of every point, where that is known."""

    @property
    def metrics(self) -> tuple[str, ...]:
        """What must be known of every seed."""
        named = [
            *(objective.metric for objective in self.objectives),
            *map(metric_of, self.constraints),
        ]
        return tuple(dict.fromkeys(named))

    @property
    def measured(self) -> tuple[str, ...]:
        """The metrics that are no sizes of the network."""
        return tuple(metric for metric in self.metrics if metric not in SIZES)

    def lacking(self, numbers: Mapping[str, float]) -> str | None:
        """A metric that is missing or not finite."""
        return next((m for m in self.metrics if not math.isfinite(numbers.get(m, math.nan))), None)

    def worth(self, numbers: Numbers) -> Score:
        """Of a point with these numbers."""
        return Score(
            values=tuple(objective.of(numbers) for objective in self.objectives),
            violations=tuple(violation(constraint, numbers) for constraint in self.constraints),
        )
