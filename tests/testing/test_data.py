"""A data set that breaks a contract is told which one."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
import torch

from kdray.core import InputError
from kdray.data import ImageData, Obtained, Shape, Split
from kdray.testing import DATA_CONTRACTS, check_data
from tests.testing.broken import assert_breaks_only, broken_by


class Sound(ImageData):
    """Grey levels: dark, middle, bright."""

    name: Literal["sound"] = "sound"
    classes: ClassVar[int] = 3
    native_shape: ClassVar[Shape] = (1, 5, 6)

    def check(self, root: Path) -> None:
        """Nothing has to be there."""

    def read(self, root: Path) -> tuple[Split, Split, Split]:
        return self._made(), self._made(), self._made()

    def _made(self) -> Split:
        labels = torch.arange(12) % 3
        images = (labels * 100).to(torch.uint8).view(-1, 1, 1, 1).expand(12, 1, 5, 6)
        return Split(images.contiguous(), labels)


class OneClass(Sound):
    """Has nothing to tell apart."""

    native_shape: ClassVar[Shape] = (2, 5, 6)

    def _made(self) -> Split:
        found = super()._made()
        return found._replace(images=found.images.expand(-1, 2, -1, -1))


class Square(Sound):
    """Forgets that it is padded."""

    @property
    def shape(self) -> Shape:
        channels, height, width = super().shape
        return (channels, height + (self.pad == 1), width)


class AnyNormalization(Sound):
    """Takes what no data set can be."""

    normalization: Any = "standardize"


class KeepsOrder(Sound):
    """Leaves the omitted classes as they are written."""

    def model_post_init(self, context: Any) -> None:
        object.__setattr__(self, "omit_classes", tuple(reversed(self.omit_classes)))


class Lost(Sound):
    """Has one class only in its test images."""

    def read(self, root: Path) -> tuple[Split, Split, Split]:
        train = self._made()
        kept = train.labels < 2
        return Split(train.images[kept], train.labels[kept]), self._made(), self._made()


class Random(Sound):
    """Draws its images anew."""

    def read(self, root: Path) -> tuple[Split, Split, Split]:
        splits = super().read(root)
        images = torch.randint(0, 256, splits[0].images.shape, dtype=torch.uint8)
        return splits[0]._replace(images=images), *splits[1:]


class OtherLabels(Sound):
    """Counts its labels from the other end."""

    def split_labels(self, root: Path) -> tuple[Any, Any, Any]:
        train, val, test = super().split_labels(root)
        return 2 - train, val, test


class Silent(Sound):
    """Has nothing to say of its files."""

    @classmethod
    def obtain(cls, root: Path, *, fetch: bool) -> Obtained:
        return Obtained(True)


BROKEN: dict[type[ImageData], tuple[str, str]] = {
    OneClass: ("it_declares_its_classes_and_its_shape", "2 channels (allowed: 1 and 3)"),
    Square: ("resize_channels_and_padding_decide_the_shape", "pad: 1 makes images of (1, 8, 8)"),
    AnyNormalization: ("an_impossible_image_is_refused", "whiten"),
    KeepsOrder: ("every_class_but_one_may_be_omitted", "it omits (2, 0)"),
    Lost: (
        "it_is_there_with_the_shape_declared_or_says_in_one_line_why_not",
        "train has no image of class 2",
    ),
    Random: ("reading_twice_gives_the_same_images", "train has other images when read again"),
    OtherLabels: ("its_labels_are_those_of_its_images", "other labels of train"),
    Silent: (
        "it_says_what_is_there_and_writes_nothing_unless_it_is_to_fetch",
        "neither what is there nor what is not",
    ),
}


def test_every_contract_has_a_data_set_that_breaks_it() -> None:
    names = {contract.__name__ for contract in DATA_CONTRACTS}
    assert {name for name, _ in BROKEN.values()} == names


@pytest.mark.parametrize("kind", BROKEN, ids=lambda kind: kind.__name__)
def test_a_broken_data_set_is_told_which_contract(kind: type[ImageData], tmp_path: Path) -> None:
    name, found = BROKEN[kind]
    assert_breaks_only(broken_by(kind(), DATA_CONTRACTS, tmp_path), kind(), name, found)


class Absent(Sound):
    """Is not there."""

    def check(self, root: Path) -> None:
        raise InputError(f"data set 'sound': {root} is missing; make it")


class Wordy(Sound):
    """Says it in two lines."""

    def check(self, root: Path) -> None:
        raise InputError("is missing\nor not")


def test_a_sound_data_set_passes_whether_or_not_it_is_there(tmp_path: Path) -> None:
    check_data(Sound())
    check_data(Sound(resize=8, channels=3, pad=1, omit_classes=(1,), train_examples=4))
    check_data(Absent(), root=tmp_path)
    with pytest.raises(AssertionError, match="check says more than one line: 'is missing"):
        check_data(Wordy())
