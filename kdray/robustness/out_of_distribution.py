"""Accuracy on the test images of another data set that has the same classes.

noisy_collaboration, section 4 and figures 1 to 3, measures models of CIFAR-10 on CINIC-10's images
from ImageNet; robust_student, section V.D and table III, models of MNIST on USPS (padded by 6 to 28
x 28) and the other way round.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch

from kdray.data import AnyData, ImageData
from kdray.data.digits import FEWEST_EXAMPLES
from kdray.robustness.base import Evaluation, Measurement, Subject, accuracy, blocks, is_correct

SMALLEST = 4
"""Side in pixels that images may be scaled to, as in a data set's own ``resize``."""


def fitting(described: ImageData, trained: ImageData) -> ImageData | None:
    """``described`` with images of the shape of ``trained``; none where its resize, channels and
    pad rule that out.

    What ``described`` gives of these three stays. Channels that it does not give are the model's.
    If it gives neither resize nor pad, images that have the model's size already stay as they are
    (MNIST, for models of USPS padded to 28 x 28), and others are scaled to the size that the
    model's own images have before they are padded, and padded like those (MNIST to 16 for models of
    USPS as it is). If it gives one of the two, the other is what remains to the model's size.
    """
    coloured = described.model_copy(update={"channels": described.channels or trained.shape[0]})
    if coloured.shape == trained.shape:
        return coloured
    side = trained.shape[1]
    pad = described.pad or (
        trained.pad if described.resize is None else (side - described.resize) // 2
    )
    padded = coloured.model_copy(update={"pad": pad})
    scaled = padded.model_copy(update={"resize": described.resize or side - 2 * pad})
    possible = [padded, *([scaled] if side - 2 * pad >= SMALLEST else [])] if pad >= 0 else []
    return next((each for each in possible if each.shape == trained.shape), None)


class OutOfDistribution(Evaluation):
    """Accuracy on the test part of ``data``, over all and per class, whatever the model was trained
    on.

    The model's normalisation stays as it was fitted to its own training images. Of ``data``, only
    what says which images they are and their size matters: see :func:`fitting`.
    """

    paper: ClassVar[str] = (
        "noisy_collaboration figs. 1 to 3 (CINIC-10's ImageNet images); robust_student table III"
    )

    name: Literal["out_of_distribution"] = "out_of_distribution"
    data: AnyData
    """Of the same classes; those of a user's own data are taken to be the model's."""
    split: Literal["test"] = "test"
    """Of ``data``: there is no validation part to choose by, so no objective can be of these
    images."""

    @classmethod
    def shrunk(cls, written: dict[str, Any]) -> dict[str, Any]:
        """On digits in the place of its own images, of the size that is written."""
        small, data = super().shrunk(written), written.get("data")
        if isinstance(data, dict):
            sized = {key: data[key] for key in ("resize", "channels", "pad") if key in data}
            small["data"] = {"name": "digits", "examples": FEWEST_EXAMPLES, **sized}
        return small

    def of_one_block(self) -> Evaluation:
        """All of it: the images that it brings lie on the device, all of them."""
        return self

    def metrics(self) -> dict[str, int]:
        return {"accuracy": 1}

    def dataset(self, data: ImageData) -> str:
        del data
        return self.data.name

    def misfit(self, data: ImageData) -> str | None:
        there, here = self.data.name, super().dataset(data)
        if None not in (self.data.labels, data.labels) and self.data.labels != data.labels:
            return (
                f"data: {there} has other classes than {here} ({self.data.labels}, not "
                f"{data.labels})"
            )
        if self.data.classes != data.classes:
            return f"data: {there} has {self.data.classes} classes, {here} {data.classes}"
        if fitting(self.data, data) is None:
            wanted = " x ".join(map(str, data.shape))
            return (
                f"data: resize, channels and pad of {there} do not give the {wanted} of {here}; "
                "leave them out"
            )
        return None

    def check(self, data: ImageData, root: Path) -> None:
        del data
        self.data.check(root)

    def measure(self, subject: Subject) -> Iterator[Measurement]:
        """Also a ``class_accuracy`` for each class."""
        fitted = None if subject.data is None else fitting(self.data, subject.data)
        if fitted is None:
            raise ValueError(
                f"data: {self.data.name} cannot be given the shape of the model's own images"
            )
        split = self.part(fitted.test_split(subject.root))
        split = split.to(subject.split.device, streamed=subject.split.streamed)
        right = torch.cat(
            [is_correct(subject.classifier, block.images, block.labels) for block in blocks(split)]
        )
        yield accuracy(int(right.sum()), len(right))
        for label in split.labels.unique().tolist():
            of_class = right[split.labels == label]
            yield accuracy(
                int(of_class.sum()), len(of_class), metric="class_accuracy", class_=label
            )
