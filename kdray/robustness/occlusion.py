"""Accuracy with a black square in every image: robust_student, section V.D.1 and table II."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from kdray.core import Several
from kdray.data import Shape
from kdray.perturbations.occlusion import occlude
from kdray.robustness.base import Evaluation, Measurement, Subject, accuracy


class Occlusion(Evaluation):
    """A square of zeros in all channels, wholly inside and at a random place, for several sides."""

    paper: ClassVar[str] = "robust_student table II"

    name: Literal["occlusion"] = "occlusion"
    sides: Annotated[Several[Annotated[int, Field(ge=0)]], Field(min_length=1)] = (2, 4, 6, 8, 10)
    """Pixels; 0: no square, at most the image's side."""

    def misfit(self, shape: Shape) -> str | None:
        largest, side = max(self.sides), min(shape[1:])
        return f"sides: a square of {largest} pixels is larger than the image's {side}" if largest > side else None

    def metrics(self) -> dict[str, int]:
        return {"accuracy": len(self.sides)}

    def measure(self, subject: Subject) -> Iterator[Measurement]:
        for side in self.sides:
            correct = self.correct_under(subject, partial(occlude, side))
            yield accuracy(correct, len(subject.split.labels), side=side)
