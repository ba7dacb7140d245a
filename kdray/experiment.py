"""An experiment: the complete, frozen description of one training. Its fingerprint is the trial's id."""

from __future__ import annotations

from functools import cache
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, model_validator

from kdray.core import Value, fingerprint, leaf_types, leaves, parse, value_types
from kdray.data import AnyData
from kdray.methods import AnyMethod, CrossEntropy, Method
from kdray.models import AnyModel
from kdray.perturbations import Noise
from kdray.training import Training


class Experiment(Value):
    """Data, model, teacher (itself an experiment, or none), noise, method, training and seed."""

    data: AnyData
    model: AnyModel
    teacher: Experiment | None = None
    noise: Noise = Noise()
    method: AnyMethod = CrossEntropy()
    training: Training
    seed: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        method, teacher = self.method, self.teacher
        if method.needs_teacher and teacher is None:
            raise ValueError(f"method {method.name} needs a teacher, and there is none")
        if teacher is not None:
            if not method.needs_teacher:
                raise ValueError(f"method {method.name} asks no teacher: set teacher to null, or choose another method")
            if teacher.data.classes != self.data.classes:
                raise ValueError(
                    f"teacher.data.name: {teacher.data.name} has {teacher.data.classes} classes, "
                    f"the student's {self.data.name} has {self.data.classes}"
                )
            if teacher.data.shape != self.data.shape:
                raise ValueError(
                    f"teacher.data: the teacher's images are {_times(teacher.data.shape)} "
                    f"(channels x height x width), the student's {_times(self.data.shape)}"
                )
        return self

    @property
    def trial_id(self) -> str:
        """16 hexadecimal digits; equal experiments are the same trial."""
        return fingerprint(self)

    @classmethod
    def parse(cls, data: object, where: str = "") -> Experiment:
        """An experiment from plain JSON values; :class:`kdray.core.InputError` if it is none."""
        return parse(cls, data, where)

    not_columns: ClassVar[frozenset[str]] = frozenset({"seed"})
    """Leaves that the trials table has among its own columns."""


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


@cache
def configuration_columns() -> dict[str, type]:
    """The configuration columns of the trials table: every dotted path below an experiment with its type."""
    return {path: kind for path, kind in leaf_types(Experiment).items() if path not in Experiment.not_columns}


@cache
def loss_columns() -> dict[str, type]:
    """The loss-term columns of the epochs table: the terms of every method."""
    return {
        f"loss.{term}": float
        for method in value_types(AnyMethod)
        if issubclass(method, Method)
        for term in method.terms
    }


def configuration(experiment: Experiment) -> dict[str, Any]:
    """``experiment`` as configuration columns."""
    return leaves(experiment, configuration_columns())
