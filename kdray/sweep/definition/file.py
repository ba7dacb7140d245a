"""A sweep file is written as these values around the experiment, each validated by itself."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    JsonValue,
    field_validator,
    model_validator,
)

from kdray.core import Several, Value, fingerprint
from kdray.core.explain import shortened
from kdray.core.names import composed
from kdray.results.points.objective import Constraint, Objective, Objectives
from kdray.robustness import AnyEvaluation, label_of
from kdray.sweep.definition.callbacks import Callbacks
from kdray.sweep.definition.samplers import AnySampler, Grid, members_of_search, names_of
from kdray.sweep.definition.tree import inside
from kdray.training.compute import ComputeOptions

NAME = r"^[A-Za-z0-9][A-Za-z0-9_.\-]{0,99}$"
Role = Literal["teacher", "student"]
MAX_SEEDS = 10_000
MAX_SEED = 2**63 - 1
"""What the column ``seed`` can hold."""


def _are_seeds(given: Any) -> Any:
    """Return ``given`` if it says seeds."""
    numbers = given if isinstance(given, list | tuple) else [0]
    is_listed = 0 < len(numbers) <= MAX_SEEDS and all(
        type(number) is int and 0 <= number <= MAX_SEED for number in numbers
    )
    is_count = numbers is given or (type(given) is int and 1 <= given <= MAX_SEEDS)
    if not (is_listed and is_count):
        raise ValueError(
            f"needs a whole number from 1 to {MAX_SEEDS}, or a list of seeds (whole numbers from "
            f"0 below 2^63), not {shortened(json.dumps(given, default=str))}"
        )
    twice = [number for number, count in Counter(numbers).items() if count > 1]
    if twice:
        raise ValueError(f"seed {twice[0]} is there twice")
    return given


Seeds = Annotated[
    Annotated[int, Field(ge=1, le=MAX_SEEDS)]
    | Annotated[Several[Annotated[int, Field(ge=0)]], Field(min_length=1, max_length=MAX_SEEDS)],
    BeforeValidator(_are_seeds),
]
"""So many, from 0 on; or a list of the seeds themselves."""


def seed_numbers(seeds: Seeds) -> Sequence[int]:
    """Return the seeds themselves."""
    return range(seeds) if isinstance(seeds, int) else seeds


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
    """So many of each data set, by the objectives: front by front of several, in each by the first
    objective; only those that keep to the constraints."""
    suite: Annotated[Several[AnyEvaluation], Field(min_length=1)]


class Suite(Value):
    """What is measured on every trained student and teacher."""

    roles: Several[Role] = ("student", "teacher")
    suite: Several[AnyEvaluation] = ()
    best: Finals | None = None

    @property
    def alone(self) -> tuple[AnyEvaluation, ...]:
        """Return those that measure each trial by itself."""
        return tuple(evaluation for evaluation in self.suite if not evaluation.across)

    @property
    def across(self) -> tuple[AnyEvaluation, ...]:
        """Return those that measure trials with each other."""
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


def _not_blank(name: str) -> str:
    """Return ``name`` if a reader would see it."""
    if not name.strip():
        raise ValueError("is empty; a case needs a name")
    return name


class Case(Value):
    """A named set of overrides, crossed with the rest of the space."""

    name: Annotated[str, AfterValidator(_not_blank), AfterValidator(composed)]
    """Any text that is not empty."""
    set: dict[str, JsonValue] = {}  # noqa: RUF012
    """Dotted path below the experiment to value (or distribution)."""


class TeacherChoice(Value):
    """How many seeds of a teacher are trained, and which one teaches."""

    seeds: Seeds = 1
    """How many, from seed 0 on; or a list of the seeds themselves."""
    select: Literal["best_validation", "best_test", "each"] = "best_validation"
    """best_validation: highest val_accuracy, ties to the lowest seed; each: teacher seed i for
    student seed i; best_test: highest test_accuracy, as noisy_collaboration chose its teachers,
    which lets the test split decide something: only to repeat what that paper did, and members says
    so."""


def _in_words(name: str) -> str:
    """Return ``name`` if it may be one of a sweep."""
    if re.fullmatch(NAME, name) is None:
        raise ValueError(
            f"{name!r} may have letters, digits, '-', '_' and '.', at most 100 of them, and must "
            "begin with a letter or digit"
        )
    return name


def without_rounding(node: Any) -> Any:
    """Return what is written in a file with every number that misses a decimal of at most 12 digits
    by rounding only (0.1 + 0.2, say) put in as that decimal."""
    if isinstance(node, float):
        short = float(f"{node:.12g}")
        return short if abs(short - node) <= 4 * math.ulp(node) else node
    return inside(node, "", lambda part, _: without_rounding(part))


def _listed(given: Any) -> Any:
    """Return one objective as a list of one."""
    return [given] if isinstance(given, dict | Objective) else given


class SweepFile(Value):
    """The sweep file as it is written."""

    name: Annotated[str, Field(json_schema_extra={"pattern": NAME}), AfterValidator(_in_words)]
    """Letters, digits, ``_``, ``-`` and ``.``; it becomes part of file names."""
    seeds: Seeds = 1
    """Every point is trained so many times, with seeds 0, 1, …; or with the seeds of a list."""
    search: AnySampler = Grid()
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
    def objectives(self) -> Objectives:
        """Return the objectives and constraints."""
        return Objectives(
            objectives=self.objective, constraints=self.constraints, seeds=len(self.seed_numbers)
        )

    @property
    def seed_numbers(self) -> Sequence[int]:
        """Return the seeds of every point."""
        return seed_numbers(self.seeds)

    @model_validator(mode="after")
    def _enough_seeds(self) -> Self:
        count = len(self.seed_numbers)
        if count < 2 and any(
            objective.over_seeds == "mean_minus_sd" for objective in self.objectives.objectives
        ):
            raise ValueError("objective.over_seeds: mean_minus_sd needs seeds of 2 or more")
        if self.search.racing is not None and 2.0 ** (1 - count) >= self.search.racing.p:
            raise ValueError(
                f"search.racing: {count} seeds cannot give a p below "
                f"{self.search.racing.p}: use more seeds"
            )
        return self

    @model_validator(mode="after")
    def _what_the_search_compares_by(self) -> Self:
        """Check that the search knows as many objectives as there are, and constraints if there are
        any."""
        where, samplers = f"search.sampler: {self.search.tag} knows", members_of_search()
        if len(self.objective) > 1:
            if not self.search.several_objectives:
                able = names_of(kind for kind in samplers if kind.several_objectives)
                raise ValueError(f"{where} one objective (several: {able})")
            if self.search.racing is not None:
                raise ValueError(
                    "search.racing: compares points by one objective, there are several"
                )
        if self.constraints and not self.search.constrained:
            able = names_of(kind for kind in samplers if kind.constrained)
            raise ValueError(f"{where} no constraints (allowed: {able})")
        return self
