"""The sweep file as it is written, around the experiment: values, each validated by itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from statistics import fmean, stdev
from typing import Annotated, Literal, Self

from pydantic import Field, JsonValue, field_validator, model_validator

from kdray.core import Several, Value, fingerprint
from kdray.robustness import AnyEvaluation, label_of

Role = Literal["teacher", "student"]


class Search(Value):
    """How points of the space are chosen."""

    sampler: Literal["grid", "random", "qmc", "tpe", "gp", "nsgaii"] = "grid"
    """grid: every combination, in order; the others are Optuna's: random, quasi-Monte Carlo (scrambled Sobol), tree-structured
    Parzen estimator, Gaussian process, the genetic algorithm NSGA-II."""
    points: Annotated[int, Field(ge=1)] | None = None
    """How many points are tried (points, not seeds); not of a grid."""
    seed: Annotated[int, Field(ge=0)] = 0
    first: Several[dict[str, JsonValue]] = ()
    """Points to try before any other, not of a grid: values by path, the case as ``case``; what is left out is chosen."""
    startup: Annotated[int, Field(ge=1)] = 10
    """Random points before tpe or gp begins to learn."""
    multivariate: bool = False
    """tpe: parameters are looked at together, not one by one."""
    group: bool = False
    """tpe, multivariate: parameters that only some cases have are looked at with those that occur beside them."""
    constant_liar: bool = True
    """tpe: points that are still running count as bad, so that those that run at once differ."""
    population: Annotated[int, Field(ge=2)] = 50
    """nsgaii: points of one generation."""

    @model_validator(mode="after")
    def _what_the_sampler_uses(self) -> Self:
        if self.sampler == "grid" and self.points is not None:
            raise ValueError("points: a grid has as many as it has; leave points out")
        if self.sampler == "grid" and self.first:
            raise ValueError("first: a grid has its order; leave first out")
        if self.sampler != "grid" and self.points is None:
            raise ValueError(f"points: sampler {self.sampler} needs to know how many")
        if len(self.first) > (self.points or len(self.first)):
            raise ValueError(f"first: {len(self.first)} points are more than the {self.points} that are tried")
        for name, samplers in _USED_BY.items():
            if self.sampler not in samplers and getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f"{name}: sampler {self.sampler} has no use for it (allowed: with {', '.join(samplers)})")
        if self.group and not self.multivariate:
            raise ValueError("group: needs multivariate: true")
        return self


_USED_BY = {
    "startup": ("tpe", "gp"), "multivariate": ("tpe",), "group": ("tpe",), "constant_liar": ("tpe",),
    "population": ("nsgaii",),
}  # fmt: skip


class Objective(Value):
    """What the search improves: a number on the validation split, over a point's seeds."""

    metric: str = "val_accuracy"
    """val_accuracy, or ``label.metric`` of an evaluation on val."""
    mode: Literal["max", "min"] = "max"
    over_seeds: Literal["mean", "worst", "mean_minus_sd"] = "mean"
    """What the seeds of a point count as: their mean, the worst of them, or the mean less ``deviations`` standard deviations
    (ddof 1; more, where less is better)."""
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


class Request(Value):
    """What one trial needs from the machine it runs on."""

    cpu: Annotated[float, Field(gt=0)] = 1.0
    gpu: Annotated[float, Field(ge=0)] = 0.0
    """A part of a GPU below 1 shares it."""

    @field_validator("gpu")
    @classmethod
    def _whole_gpus(cls, gpu: float) -> float:
        if gpu > 1 and gpu != int(gpu):
            raise ValueError(f"gpu {gpu} is neither a part of one GPU nor a whole number of them")
        return gpu

    @property
    def threads(self) -> int:
        return max(1, int(self.cpu))


class Resources(Value):
    """By role."""

    teacher: Request = Request()
    student: Request = Request()


class Suite(Value):
    """What is measured on every trained student and teacher."""

    roles: Several[Role] = ("student", "teacher")
    suite: Several[AnyEvaluation] = ()

    @property
    def alone(self) -> tuple[AnyEvaluation, ...]:
        """Those that measure each trial by itself."""
        return tuple(evaluation for evaluation in self.suite if not evaluation.across)

    @property
    def across(self) -> tuple[AnyEvaluation, ...]:
        """Those that measure trials with each other."""
        return tuple(evaluation for evaluation in self.suite if evaluation.across)

    @model_validator(mode="after")
    def _labels_differ(self) -> Self:
        labels = [label_of(evaluation) for evaluation in self.suite]
        for label in labels:
            if labels.count(label) > 1:
                raise ValueError(f"suite: label {label!r} is used twice; give each evaluation its own label")
        if len({fingerprint(evaluation) for evaluation in self.suite}) < len(labels):
            raise ValueError("suite: two evaluations differ in their label only")
        return self


class Budget(Value):
    """After how much no new point is begun, in one run of the sweep; what is running ends. The same command goes on."""

    hours: Annotated[float, Field(gt=0)] | None = None
    """On the clock."""
    gpu_hours: Annotated[float, Field(gt=0)] | None = None
    """Of all trials together: the share of a GPU that each asked for, times its hours."""


class Case(Value):
    """A named set of overrides, crossed with the rest of the space."""

    name: Annotated[str, Field(min_length=1)]
    set: dict[str, JsonValue] = {}  # noqa: RUF012
    """Dotted path below the experiment to value (or distribution)."""


class TeacherChoice(Value):
    """How many seeds of a teacher are trained, and which one teaches."""

    seeds: Annotated[int, Field(ge=1)] = 1
    select: Literal["best_validation", "best_test", "each"] = "best_validation"
    """best_validation: highest val_accuracy, ties to the lowest seed; each: teacher seed i for student seed i; best_test:
    highest test_accuracy, as noisy_collaboration chose its teachers, which lets the test split decide something: only to
    repeat what that paper did, and members says so."""


class SweepFile(Value):
    """The sweep file as it is written."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.\-]{0,99}$")]
    """Letters, digits, ``_``, ``-`` and ``.``; it becomes part of file names."""
    seeds: Annotated[int, Field(ge=1)] = 1
    """Every point is trained so many times, with seeds 0, 1, …"""
    search: Search = Search()
    objective: Objective = Objective()
    resources: Resources = Resources()
    experiment: dict[str, JsonValue]
    budget: Budget = Budget()
    cases: Several[Case] = ()
    evaluate: Suite = Suite()

    @model_validator(mode="after")
    def _can_deviate(self) -> Self:
        if self.objective.over_seeds == "mean_minus_sd" and self.seeds < 2:
            raise ValueError("objective.over_seeds: mean_minus_sd needs seeds of 2 or more")
        return self
