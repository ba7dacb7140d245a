"""What a user's own data sets have in common: where they are, how many classes, and where
validation images come from."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil
from pathlib import Path
from typing import Annotated, ClassVar

import torch
from jaxtyping import Int64
from pydantic import Field
from torch import Tensor

from kdray.core import InputError, tag_of
from kdray.data.base import ImageData, Obtained
from kdray.data.splits import Split, stratified

MAX_NAMED = 10
"""Classes that a remark has the numbers of."""


class OwnData(ImageData):
    """Images that a user brings. Nothing fetches them; their description says where they are."""

    needed: ClassVar[str]
    """What must be at ``path``."""

    path: Annotated[str, Field(min_length=1)]
    """Below the data folder, or absolute. Part of the identity: other images belong under another
    path."""
    classes: Annotated[int, Field(ge=2, le=100_000)]
    validation: Annotated[int, Field(ge=1)] | None = None
    """How many training images become the validation split, stratified by class, where there is
    none of its own; none: a fifth, rounded up."""

    @classmethod
    def obtain(cls, root: Path, *, fetch: bool) -> Obtained:
        del fetch
        name = tag_of(cls)
        return Obtained(
            True,
            (
                f"{name}: your own images, nothing to fetch; put {cls.needed} below {root}",
                f"and describe them in the sweep: data: {{name: {name}, path: …, …}} "
                "('kdray list datasets')",
            ),
        )

    def place(self, root: Path) -> Path:
        return root / Path(self.path).expanduser()

    def lacks(self, root: Path) -> InputError:
        """That nothing is at :meth:`place`."""
        name, place = tag_of(type(self)), self.place(root)
        return InputError(
            f"data set {name!r}: {place} is missing; it must be {self.needed}; set path, or "
            "--data or KDRAY_DATA to the "
            f"folder that path starts from"
        )

    def splits(self, parts: dict[str, Split], root: Path) -> tuple[Split, Split, Split]:
        """The three splits, from the parts that are there."""
        train = parts["train"]
        if "val" in parts:
            return train, parts["val"], parts["test"]
        rest, val = self.held_out(train.labels, root)
        return train.take(rest), train.take(val), parts["test"]

    def label_splits(
        self, labels: dict[str, Int64[Tensor, "_"]], root: Path
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The labels of the three splits, from those of the parts that are there."""
        train = labels["train"]
        if "val" in labels:
            return train, labels["val"], labels["test"]
        rest, val = self.held_out(train, root)
        return train[rest], train[val], labels["test"]

    def remarks(self, root: Path) -> Iterator[str]:
        """Classes that a split has no image of."""
        for split, labels in zip(
            ("training", "validation", "test"), self.split_labels(root), strict=True
        ):
            lacking = torch.nonzero(torch.bincount(labels, minlength=self.classes) == 0).flatten()
            if len(lacking):
                named = ", ".join(map(str, lacking[:MAX_NAMED].tolist()))
                more = f" and {len(lacking) - MAX_NAMED} more" if len(lacking) > MAX_NAMED else ""
                yield (
                    f"{self.place(root)}: no {split} image of class {named}{more} (of "
                    f"{self.classes}); accuracy there says nothing of it"
                )

    def held_out(
        self, labels: Int64[Tensor, "N"], root: Path
    ) -> tuple[Int64[Tensor, "rest"], Int64[Tensor, "n"]]:
        """The indices of the training images that stay, and of those that become validation
        images."""
        total = len(labels)
        count = ceil(total / 5) if self.validation is None else self.validation
        if count >= total:
            raise InputError(
                f"{self.place(root)}: validation: {count} of {total} training images leaves "
                "none to train on"
            )
        rest, val = stratified(labels, count, salt=f"{tag_of(type(self))}:validation")
        lost = torch.bincount(labels[rest], minlength=self.classes) == 0
        if lost.any():
            raise InputError(
                f"{self.place(root)}: validation: {count} of {total} training images leaves "
                "none of class "
                f"{int(lost.nonzero()[0])} to train on"
            )
        return rest, val
