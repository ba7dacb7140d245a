"""The sweep file as it is written, around the experiment: values, each validated by itself."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, JsonValue, field_validator, model_validator

from kdray.core import Several, Value, fingerprint
from kdray.robustness import AnyEvaluation, label_of

Role = Literal["teacher", "student"]


class Search(Value):
    """How points of the space are chosen."""

    sampler: Literal["grid", "random", "tpe"] = "grid"
    """grid: every combination, in order; random, tpe: Optuna's."""
    points: Annotated[int, Field(ge=1)] | None = None
    """How many points random and tpe try (points, not seeds)."""
    seed: Annotated[int, Field(ge=0)] = 0
    startup: Annotated[int, Field(ge=1)] = 10
    """Random points before tpe begins to learn."""

    @model_validator(mode="after")
    def _points_where_needed(self) -> Self:
        if self.sampler == "grid" and self.points is not None:
            raise ValueError("points: a grid has as many as it has; leave points out")
        if self.sampler != "grid" and self.points is None:
            raise ValueError(f"points: sampler {self.sampler} needs to know how many")
        return self


class Objective(Value):
    """What the search improves: the mean over a point's seeds of a number on the validation split."""

    metric: str = "val_accuracy"
    """val_accuracy, or ``label.metric`` of an evaluation on val."""
    mode: Literal["max", "min"] = "max"


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
    cases: Several[Case] = ()
    evaluate: Suite = Suite()
