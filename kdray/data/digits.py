"""Digits: 1,797 real handwritten digits of 8 x 8 pixels, shipped with kdray; nothing to download.

They are the test part of "Optical Recognition of Handwritten Digits" (E. Alpaydin, C. Kaynak, 1998,
UCI Machine Learning Repository, CC BY 4.0), as scikit-learn distributes them: grey values 0 to 16,
scaled here to 0..255 and rounded, which keeps all 17 levels apart.

The split is fixed and stratified: 360 test images, 360 validation images, 1,077 training images.
"""

from __future__ import annotations

from math import ceil
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field, model_validator

from kdray.data.base import ImageData, Shape
from kdray.data.splits import Split, stratified

IMAGES = 1797
TEST_SHARE = 0.2
VALIDATION_SHARE = 0.2
FEWEST_EXAMPLES = 100
"""Enough for every class in every split; what ``--smoke`` trains on."""


class Digits(ImageData):
    """scikit-learn's digits: 10 classes, 1 x 8 x 8."""

    classes: ClassVar[int] = 10
    labels: ClassVar[str | None] = "digits"
    native_shape: ClassVar[Shape] = (1, 8, 8)

    name: Literal["digits"] = "digits"
    examples: Annotated[int, Field(ge=FEWEST_EXAMPLES, le=IMAGES)] | None = None
    """Use only this many of the images (all three splits together), every class in proportion;
    none: all 1,797."""

    @model_validator(mode="after")
    def _has_so_many(self) -> Digits:
        total = self.examples or IMAGES
        rest = total - ceil(total * TEST_SHARE)
        left = rest - ceil(total * VALIDATION_SHARE)
        if self.train_examples is not None and self.train_examples > left:
            raise ValueError(f"train_examples: {self.train_examples} of {left} training images")
        return self

    def check(self, root: Path) -> None:
        """Always there."""

    def read(self, root: Path) -> tuple[Split, Split, Split]:  # noqa: ARG002
        with np.load(Path(__file__).parent / "digits.npz", allow_pickle=False) as arrays:
            images = (
                torch.from_numpy(arrays["images"])
                .float()
                .mul(255 / 16)
                .round()
                .to(torch.uint8)[:, None]
            )
            everything = Split(images, torch.from_numpy(arrays["labels"]).long())
        if self.examples is not None and self.examples < len(everything.labels):
            everything = everything.take(
                stratified(everything.labels, self.examples, salt="digits:examples")[1]
            )
        total = len(everything.labels)
        rest, test = stratified(everything.labels, ceil(total * TEST_SHARE), salt="digits:test")
        train, val = stratified(
            everything.labels[rest], ceil(total * VALIDATION_SHARE), salt="digits:validation"
        )
        return everything.take(rest[train]), everything.take(rest[val]), everything.take(test)
