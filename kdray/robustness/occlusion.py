"""Accuracy with a black square in every image: robust_student, section V.D.1 and table II."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from kdray.core import Several
from kdray.data import ImageData
from kdray.models import Classifier
from kdray.perturbations.occlusion import occlude
from kdray.robustness.base import Block, Images, Perturbing


class Occlusion(Perturbing):
    """A square of zeros in all channels, wholly inside and at a random place, for several sides."""

    paper: ClassVar[str] = "robust_student table II"

    name: Literal["occlusion"] = "occlusion"
    sides: Annotated[Several[Annotated[int, Field(ge=0)]], Field(min_length=1)] = (2, 4, 6, 8, 10)
    """Pixels; 0: no square, at most the image's side."""

    def misfit(self, data: ImageData) -> str | None:
        largest, side = max(self.sides), min(data.shape[1:])
        return (
            f"sides: a square of {largest} pixels is larger than the image's {side}"
            if largest > side
            else None
        )

    def strengths(self) -> list[dict[str, Any]]:
        return [{"side": side} for side in self.sides]

    def perturbed(self, classifier: Classifier, block: Block) -> Iterator[Images]:
        del classifier
        for side in self.sides:
            yield occlude(side, block.images, self.draws(block))
