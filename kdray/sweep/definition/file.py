"""The sweep file as it is written, around the experiment: values, each validated by itself."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, JsonValue, field_validator, model_validator

from kdray.core import Several, Value, fingerprint
from kdray.results.points.objective import Constraint, Objective, Objectives
from kdray.robustness import AnyEvaluation, label_of
from kdray.sweep.execution.dashboards import Callbacks
from kdray.training.compute import ComputeOptions

Role = Literal["teacher", "student"]


class Search(Value):
    """How points of the space are chosen."""

    sampler: Literal["grid", "random", "qmc", "tpe", "gp", "cmaes", "nsgaii"] = "grid"
    """grid: every combination, in order; the others are Optuna's: random, quasi-Monte Carlo
    (scrambled Sobol), tree-structured Parzen estimator, Gaussian process, the evolution strategy
    CMA-ES, the genetic algorithm NSGA-II. They search what is a choice or a range; of leaves that
    are a grid every combination has a search of its own."""
    points: Annotated[int, Field(ge=1)] | None = None
    """How many points each search tries (points, not seeds); not of a grid."""
    seed: Annotated[int, Field(ge=0)] = 0
    first: Several[dict[str, JsonValue]] = ()
    """Points to try before any other, not of a grid: values by path, the case as ``case``; what is
    left out is chosen."""
    startup: Annotated[int, Field(ge=1)] = 10
    """Random points before tpe, gp or cmaes begins to learn."""
    multivariate: bool = False
    """tpe: parameters are looked at together, not one by one."""
    group: bool = False
    """tpe, multivariate: parameters that only some cases have are looked at with those that occur
    beside them."""
    constant_liar: bool = True
    """tpe: points that are still running count as bad, so that those that run at once differ."""
    population: Annotated[int, Field(ge=2, le=10_000)] | None = None
    """cmaes, nsgaii: points of one generation (4 + 3 ln n of n leaves; 50)."""
    early_stopping: EarlyStopping | None = None
    racing: Racing | None = None

    @model_validator(mode="after")
    def _what_the_sampler_uses(self) -> Self:
        if self.sampler == "grid" and self.points is not None:
            raise ValueError("points: a grid has as many as it has; leave points out")
        if self.sampler == "grid" and self.first:
            raise ValueError("first: a grid has its order; leave first out")
        if self.sampler != "grid" and self.points is None:
            raise ValueError(f"points: sampler {self.sampler} needs to know how many")
        if len(self.first) > (self.points or len(self.first)):
            raise ValueError(
                f"first: {len(self.first)} points are more than the {self.points} that are tried"
            )
        for name, samplers in _USED_BY.items():
            if (
                self.sampler not in samplers
                and getattr(self, name) != type(self).model_fields[name].default
            ):
                raise ValueError(
                    f"{name}: sampler {self.sampler} has no use for it (allowed: with "
                    f"{', '.join(samplers)})"
                )
        if self.sampler == "cmaes" and self.population is not None and self.population < 4:
            raise ValueError(
                f"population: {self.population} is too small for sampler cmaes (allowed: 4 or more)"
            )
        if self.group and not self.multivariate:
            raise ValueError("group: needs multivariate: true")
        return self


_USED_BY = {
    "startup": ("tpe", "gp", "cmaes"),
    "multivariate": ("tpe",),
    "group": ("tpe",),
    "constant_liar": ("tpe",),
    "population": ("cmaes", "nsgaii"),
}


class EarlyStopping(Value):
    """Points whose first seed does badly while it trains are given up (off unless asked for).

    It is biased here: noise trades clean accuracy for robust accuracy, and students of fickle
    teachers need more epochs. So the metric is chosen, and time is the fraction of each trial's own
    schedule, in twentieths.
    """

    pruner: Literal["asha", "median"] = "asha"
    """asha: asynchronous successive halving, at each rung the best 1/reduction go on; median: worse
    than the median of the completed points at the same time."""
    metric: str = "val_accuracy"
    """val_accuracy or val_loss after an epoch, or ``label.metric`` of training.monitor."""
    mode: Literal["max", "min"] = "max"
    grace: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Fraction of its schedule that every trial is given: the first rung of asha."""
    reduction: Annotated[int, Field(ge=2)] = 3
    """asha: each rung is this much later than the one before, and this much narrower."""
    startup: Annotated[int, Field(ge=1)] = 5
    """median: so many points complete before one is given up."""

    @model_validator(mode="after")
    def _what_it_uses(self) -> Self:
        for field, pruner in (("reduction", "asha"), ("startup", "median")):
            if (
                self.pruner != pruner
                and getattr(self, field) != type(self).model_fields[field].default
            ):
                raise ValueError(f"{field}: {self.pruner} has no use for it")
        return self


class Racing(Value):
    """A point that is clearly worse than the best one so far is not given its other seeds (off
    unless asked for)."""

    p: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Of Wilcoxon's signed-rank test, one-sided, seeds paired, below which it is worse; from n
    seeds it is 2^-n at least. What was given up stays so when it is raised."""


class Request(Value):
    """What one trial needs from the machine it runs on."""

    cpu: Annotated[float, Field(gt=0)] = 1.0
    gpu: Annotated[float, Field(ge=0)] | Literal["auto"] = 0.0
    """At most 1, because a trial trains on one GPU; a part of it shares it; auto: the part that the
    hungriest trial needs, measured before the first starts."""
    memory: Annotated[float, Field(ge=0)] = 0.0
    """GiB of main memory that Ray sets aside for it; 0: none is counted."""
    hours: Annotated[float, Field(gt=0)] | None = None
    """A trial that has not ended after so long (it hangs, say) has failed."""
    kernels: ComputeOptions = ComputeOptions()

    @field_validator("gpu")
    @classmethod
    def _one_gpu(cls, gpu: float | str) -> float | str:
        if isinstance(gpu, float) and 0 < gpu < 0.0001:
            raise ValueError(f"gpu {gpu} is less than 0.0001, the smallest part that Ray counts")
        if isinstance(gpu, float) and gpu > 1:
            raise ValueError(
                f"gpu {gpu:g} is more than a trial uses: it trains on one GPU (allowed: 0 to 1, or "
                "auto); more trials at once use more GPUs"
            )
        return gpu

    @property
    def threads(self) -> int:
        return max(1, int(self.cpu))


class Resources(Value):
    """By role."""

    teacher: Request = Request()
    student: Request = Request()
    runtime_env: dict[str, JsonValue] = {}  # noqa: RUF012
    """What Ray prepares for every worker (env_vars, pip, working_dir, …), passed on as it is."""


class Finals(Value):
    """What is measured of the best points only, once all are there."""

    points: Annotated[int, Field(ge=1)]
    """So many, by the objectives: front by front of several, in each by the first objective; only
    those that keep to the constraints."""
    suite: Annotated[Several[AnyEvaluation], Field(min_length=1)]


class Suite(Value):
    """What is measured on every trained student and teacher."""

    roles: Several[Role] = ("student", "teacher")
    suite: Several[AnyEvaluation] = ()
    best: Finals | None = None

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
        listed = (*self.suite, *(self.best.suite if self.best else ()))
        labels = [label_of(evaluation) for evaluation in listed]
        for label in labels:
            if labels.count(label) > 1:
                raise ValueError(
                    f"suite: label {label!r} is used twice; give each evaluation its own label"
                )
        if len({fingerprint(evaluation) for evaluation in listed}) < len(labels):
            raise ValueError("suite: two evaluations differ in their label only")
        if self.best is not None and any(evaluation.across for evaluation in self.best.suite):
            raise ValueError("best.suite: what measures trials with each other belongs into suite")
        if self.best is not None and "student" not in self.roles:
            raise ValueError("best: roles leaves students out, so there is nothing to measure")
        return self


class Budget(Value):
    """After how much no new point is begun, in one run of the sweep; what is running ends. The same
    command goes on."""

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

    seeds: Annotated[int, Field(ge=1, le=10_000)] = 1
    select: Literal["best_validation", "best_test", "each"] = "best_validation"
    """best_validation: highest val_accuracy, ties to the lowest seed; each: teacher seed i for
    student seed i; best_test: highest test_accuracy, as noisy_collaboration chose its teachers,
    which lets the test split decide something: only to repeat what that paper did, and members says
    so."""


def _listed(given: Any) -> Any:
    """One as a list of one."""
    return [given] if isinstance(given, dict | Objective) else given


class SweepFile(Value):
    """The sweep file as it is written."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.\-]{0,99}$")]
    """Letters, digits, ``_``, ``-`` and ``.``; it becomes part of file names."""
    seeds: Annotated[int, Field(ge=1, le=10_000)] = 1
    """Every point is trained so many times, with seeds 0, 1, …"""
    search: Search = Search()
    objective: Annotated[Several[Objective], Field(min_length=1), BeforeValidator(_listed)] = (
        Objective(),
    )
    """One, or a list of several: then the best points are a Pareto front."""
    constraints: Several[Constraint] = ()
    """What a point must keep to, as ``val_accuracy >= 0.9``: the mean over its seeds, of the same
    metrics."""
    resources: Resources = Resources()
    experiment: dict[str, JsonValue]
    budget: Budget = Budget()
    cases: Several[Case] = ()
    evaluate: Suite = Suite()
    callbacks: Callbacks = ()
    """Where the trials are shown as well while they run: tensorboard, wandb, mlflow."""

    @property
    def aims(self) -> Objectives:
        """Objectives and constraints."""
        return Objectives(objectives=self.objective, constraints=self.constraints, seeds=self.seeds)

    @model_validator(mode="after")
    def _enough_seeds(self) -> Self:
        if self.seeds < 2 and any(
            objective.over_seeds == "mean_minus_sd" for objective in self.aims.objectives
        ):
            raise ValueError("objective.over_seeds: mean_minus_sd needs seeds of 2 or more")
        if self.search.racing is not None and 2.0 ** (1 - self.seeds) >= self.search.racing.p:
            raise ValueError(
                f"search.racing: {self.seeds} seeds cannot give a p below "
                f"{self.search.racing.p}: use more seeds"
            )
        return self

    @model_validator(mode="after")
    def _one_aim(self) -> Self:
        """What can follow one objective only."""
        if len(self.aims.objectives) > 1:
            if self.search.sampler == "cmaes":
                raise ValueError(
                    "search.sampler: cmaes knows one objective (several: tpe, gp, nsgaii, "
                    "random, qmc or grid)"
                )
            if self.search.racing is not None:
                raise ValueError(
                    "search.racing: compares points by one objective, there are several"
                )
        if self.constraints and self.search.sampler == "cmaes":
            raise ValueError(
                "search.sampler: cmaes knows no constraints (allowed: tpe, gp, nsgaii, "
                "random, qmc or grid)"
            )
        return self
