"""What a model says of chosen images, class by class, as they are or under a perturbation:
robust_student, figure 3."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor
from torch.nn import functional

from kdray.core import Several
from kdray.data import ImageData, Split
from kdray.models import Classifier
from kdray.robustness.base import Evaluation, Measurement, Subject, blocks
from kdray.robustness.perturbing import AnyPerturbing, said_above


class PredictionScores(Evaluation):
    """The softmax output of every class for some images of the split, a row each, and the class
    that each image is of."""

    paper: ClassVar[str] = "robust_student fig. 3 (signal_to_noise at 10)"

    field_versions: ClassVar[Mapping[str, int]] = {}

    name: Literal["prediction_scores"] = "prediction_scores"
    images: Annotated[Several[Annotated[int, Field(ge=0)]], Field(min_length=1)]
    """Positions in the split, from 0."""
    under: AnyPerturbing | None = None
    """The perturbation, which an image is given as it is when its accuracy is measured; none: the
    image as it is."""

    @model_validator(mode="after")
    def _says_it_once(self) -> PredictionScores:
        if self.under is not None:
            said_above("under", self.under, "split", "examples", "smoothing", "label")
        return self

    def part(self, split: Split) -> Split:
        """The first images, so that each keeps its position."""
        return split.first(self.examples)

    def misfit(self, data: ImageData) -> str | None:
        problem = None if self.under is None else self.under.misfit(data)
        return problem and f"under.{problem}"

    def check(self, data: ImageData, root: Path) -> None:
        if self.under is not None:
            self.under.check(data, root)

    def cautions(self) -> Iterator[str]:
        return iter(()) if self.under is None else self.under.cautions()

    def metrics(self) -> dict[str, int]:
        """None: every number is one of a class."""
        return {}

    def measure(self, subject: Subject) -> Iterator[Measurement]:
        held = len(subject.split.labels)
        if max(self.images) >= held:
            raise ValueError(
                f"images: there is no image {max(self.images)} (allowed: 0 to {held - 1})"
            )
        strengths = [{}] if self.under is None else self.under.strengths()
        first = 0
        for block in blocks(subject.split):
            chosen = [
                image - first for image in self.images if first <= image < first + len(block.labels)
            ]
            shown = (
                iter([block.images])
                if self.under is None
                else self.under.perturbed(subject.classifier, block)
            )
            for image in chosen:
                yield _true_class(first + image, int(block.labels[image]))
            for parameters, images in zip(strengths, shown, strict=True) if chosen else ():
                scores = self._scores(subject.classifier, images[chosen])
                for image, row in zip(chosen, scores.tolist(), strict=True):
                    for label, score in enumerate(row):
                        yield Measurement(
                            metric="score",
                            value=score,
                            examples=1,
                            image=first + image,
                            class_=label,
                            **parameters,
                        )
            first += len(block.labels)

    @torch.no_grad()
    def _scores(self, classifier: Classifier, images: Tensor) -> Tensor:
        return functional.softmax(classifier.logits(images).double(), dim=1)


def _true_class(image: int, label: int) -> Measurement:
    """By which somebody who has images and scores knows that they are of each other."""
    return Measurement(
        metric="true_class", value=float(label), examples=1, image=image, class_=label
    )
