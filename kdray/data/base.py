"""Image data sets as uint8 tensors with a fixed train/validation/test split."""

from __future__ import annotations

import hashlib
import os
from abc import abstractmethod
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, NamedTuple

import torch
from jaxtyping import Int64
from pydantic import Field, field_validator, model_validator
from torch import Tensor
from torch.nn import functional

from kdray.core import InputError, Several, Value, canonical_json, tag_of
from kdray.data.augmentation import Augment, Augmentation
from kdray.data.origin import origin
from kdray.data.splits import Dataset, Split, check_room, sample, sample_per_class
from kdray.machine.node_cache import SMALL, code, one_copy

TRAINING_ONLY = (
    "augment",
    "normalization",
    "omit_classes",
    "train_examples",
    "train_per_class",
    "train_sample_seed",
)
"""Fields that leave the images of validation and test as they are."""
Shape = tuple[int, int, int]
"""Channels, height, width."""
MOST_WHITENED = 3 * 64 * 64
"""Pixels of an image, over all channels, that ZCA is done on: the square of it is a matrix (0.6 GiB
at this size)."""


class Obtained(NamedTuple):
    """What came of making the files of a data set available, in lines for people."""

    complete: bool
    """Whether everything is there."""
    found: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    """What is wrong and what to do by hand."""


class ImageData(Value):
    """A data set of labelled images, described completely: source, split, size, augmentation,
    normalisation."""

    if TYPE_CHECKING:
        # Constants of most data sets, but fields where the images are a user's own: at run time
        # nothing may stand here, or pydantic takes it for such a field's default.
        @property
        def classes(self) -> int: ...
        @property
        def native_shape(self) -> Shape: ...

    remedy: ClassVar[str | None] = None
    """What ``kdray data NAME`` does about missing files; none: no file has a place that follows
    from the name alone."""
    labels: ClassVar[str | None] = None
    """What the class numbers mean, the same word where they mean the same; none: only the user
    knows."""

    resize: Annotated[int, Field(ge=4, le=1024)] | None = None
    """Side in pixels that images are scaled to (bilinear, antialiased); none: as they are."""
    channels: Literal[1, 3] | None = None
    """1 makes colour images grey (ITU-R 601 luma), 3 repeats the grey channel; none: as they
    are."""
    pad: Annotated[int, Field(ge=0, le=512)] = 0
    """Pixels of zero added on every side after resizing (6 makes USPS as large as MNIST:
    robust_student section V.D)."""
    omit_classes: Several[int] = ()
    """Classes whose images are left out of training; validation and test keep them
    (current_understanding: omitted digits)."""
    train_examples: Annotated[int, Field(ge=1)] | None = None
    """Train on only so many images, each class in its proportion; validation and test stay whole.
    none: on all."""
    train_per_class: Annotated[int, Field(ge=1)] | None = None
    """Train on only so many images of each class; validation and test stay whole. none: on all."""
    train_sample_seed: Annotated[int, Field(ge=0)] = 0
    """Of the choice of those images, which a seed of the training leaves as it is; a larger sample
    holds a smaller one."""
    augment: Augment = "none"
    """Of training images: horizontal flip with probability 1/2; crop after zero padding by 1/8 of
    the side (4 at 32)."""
    normalization: Literal["none", "standardize", "gcn", "gcn_zca"] = "standardize"
    """First layer of every model on these data, fitted to train. standardize: channel mean 0 and
    standard deviation 1; gcn: every image to mean 0 and norm 55; gcn_zca: then whitened
    (robust_student section V.A)."""

    @field_validator("omit_classes")
    @classmethod
    def _in_order(cls, omitted: tuple[int, ...]) -> tuple[int, ...]:
        for number in omitted:
            if omitted.count(number) > 1:
                raise ValueError(f"class {number} is there twice")
        return tuple(sorted(omitted))

    @model_validator(mode="after")
    def _possible(self) -> ImageData:
        for number in self.omit_classes:
            if not 0 <= number < self.classes:
                raise ValueError(
                    f"omit_classes: there is no class {number} (allowed: 0 to {self.classes - 1})"
                )
        if len(self.omit_classes) == self.classes:
            raise ValueError(
                f"omit_classes: leaves none of {self.classes} classes to train on; at least "
                "one must stay"
            )
        if self.normalization == "gcn_zca" and prod(self.shape) > MOST_WHITENED:
            raise ValueError(
                f"normalization: gcn_zca of images with {prod(self.shape)} numbers needs a "
                "matrix of its square "
                f"(allowed: at most {MOST_WHITENED}, 3 x 64 x 64); resize them or choose gcn"
            )
        return self

    @model_validator(mode="after")
    def _one_part(self) -> ImageData:
        if self.train_examples is not None and self.train_per_class is not None:
            raise ValueError("train_per_class: say either train_examples or train_per_class")
        if self.train_sample_seed and self.train_examples is self.train_per_class:
            raise ValueError(
                "train_sample_seed: nothing is chosen without train_examples or train_per_class"
            )
        least = self.classes - len(self.omit_classes)
        if least == 1 in (self.train_examples, self.train_per_class):
            raise ValueError("train_per_class: a single image is no training set")
        if self.train_examples is not None and self.train_examples < least:
            raise ValueError(
                f"train_examples: {self.train_examples} images cannot hold each of {least} classes"
            )
        return self

    @property
    def shape(self) -> Shape:
        channels, height, width = self.native_shape
        added = 2 * self.pad
        return (
            self.channels or channels,
            (self.resize or height) + added,
            (self.resize or width) + added,
        )

    @property
    def augmentation(self) -> Augmentation:
        """What is done to training images."""
        return Augmentation(self.augment, self.shape[1])

    def place(self, root: Path) -> Path | None:  # noqa: ARG002
        """The file or folder that holds all that :meth:`read` reads, so that a change to it is
        noticed; none: not told."""
        return None

    @classmethod
    def obtain(cls, root: Path, *, fetch: bool) -> Obtained:
        """See whether the official files are below ``root`` and, to ``fetch``, download or unpack
        those that are not."""
        del root, fetch
        return Obtained(True, (f"{tag_of(cls)}: shipped with kdray, nothing to fetch",))

    @abstractmethod
    def check(self, root: Path) -> None:
        """Raise :class:`InputError` unless everything that :meth:`read` needs is below ``root``."""

    @property
    def is_reduced(self) -> bool:
        """Whether some of the training images are left out."""
        return bool(self.omit_classes or self.train_examples or self.train_per_class)

    def check_part(self, root: Path) -> None:
        """Raise :class:`InputError` unless the training images have the part that is asked for."""
        if self.train_examples is not None or self.train_per_class is not None:
            self._trained_on(self.split_labels(root)[0])

    def split_labels(self, root: Path) -> tuple[Tensor, Tensor, Tensor]:
        """Return the labels of the training, validation and test images; a data set whose images
        take long to read leaves them alone."""
        train, val, test = self.read(root)
        return train.labels, val.labels, test.labels

    def training_labels(self, root: Path) -> Tensor:
        """Return the labels of the images that are trained on."""
        labels = self.split_labels(root)[0]
        return labels[self._trained_on(labels)]

    @abstractmethod
    def read(self, root: Path) -> tuple[Split, Split, Split]:
        """The train, validation and test splits at their native shape."""

    def remarks(self, root: Path) -> Iterator[str]:  # noqa: ARG002
        """What a user may not know of the images, a line each."""
        return iter(())

    def prepare(self, root: Path) -> None:
        """Before anything starts, find what :meth:`check` does not: where the images are files,
        :meth:`keep_copy`."""

    def keep_copy(self, root: Path) -> None:
        """Decode everything into the node's one copy, where it is not there yet."""
        data = self._unprocessed()
        _held(data, root, "splits", partial(_decoded, data, root))

    def load(self, root: Path) -> Dataset:
        """The data set with images of :attr:`shape`: the node's one copy, kept for the next trial
        of this process."""
        return _load(self._unprocessed(), root)

    def read_test(self, root: Path) -> Split:
        """The test split at its native shape; a data set whose other images take long to read
        leaves them alone."""
        return self.read(root)[2]

    def test_split(self, root: Path) -> Split:
        """The test split with images of :attr:`shape`: the node's one copy, kept for the next trial
        of this process."""
        return _load_test(self._unprocessed(), root)

    def _unprocessed(self) -> ImageData:
        """The description without what is done to images after they are loaded."""
        return self.model_copy(update={"augment": "none", "normalization": "none"})

    def _trained_on(self, labels: Int64[Tensor, "N"]) -> Int64[Tensor, "n"]:
        """Return the positions of the training images that are trained on."""
        omitted = torch.tensor(self.omit_classes, dtype=torch.int64)
        kept = torch.nonzero(~torch.isin(labels, omitted)).flatten()
        salt = f"train:{self.train_sample_seed}"
        if self.train_per_class is not None:
            return kept[sample_per_class(labels[kept], self.train_per_class, salt=salt)]
        if self.train_examples is None:
            return kept
        part = kept[sample(labels[kept], self.train_examples, salt=salt)]
        if len(part) < self.train_examples:
            raise InputError(
                f"experiment.data.train_examples: {self.train_examples} of {len(part)} images"
            )
        lost = set(labels[kept].tolist()) - set(labels[part].tolist())
        if lost:
            raise InputError(
                f"experiment.data.train_examples: {self.train_examples} of {len(kept)} images, "
                f"each class in its proportion, has none of class {min(lost)}; use more, or "
                "train_per_class"
            )
        return part

    def fitted(self, split: Split) -> Split:
        """``split`` with images of :attr:`shape`: made grey or coloured, resized and padded as the
        data's own images."""
        return _fit(split, self.shape, pad=self.pad)


@lru_cache(maxsize=2)
def _load(data: ImageData, root: Path) -> Dataset:
    held = _held(data, root, "splits", partial(_decoded, data, root))
    train, val, test = (
        Split(held[f"{name}_images"], held[f"{name}_labels"]) for name in ("train", "val", "test")
    )
    return Dataset(train, val, test, held["mean"], held["std"], data.omit_classes)


@lru_cache(maxsize=2)
def _load_test(data: ImageData, root: Path) -> Split:
    held = _held(data, root, "test", lambda: data.fitted(data.read_test(root))._asdict())
    return Split(held["images"], held["labels"])


def _decoded(data: ImageData, root: Path) -> dict[str, Tensor]:
    """The tensors of the data set, by name."""
    splits = data.read(root)
    check_room(sum(len(split.labels) for split in splits), data.shape)
    train, val, test = (data.fitted(split) for split in splits)
    train = train.take(data._trained_on(train.labels)) if data.is_reduced else train
    # From exact counts of the 256 levels, so that they do not depend on how a sum is split over
    # threads.
    channels = train.images.transpose(0, 1).flatten(1)
    counts = torch.stack([torch.bincount(channel, minlength=256) for channel in channels]).double()
    levels = torch.arange(256, dtype=torch.float64) / 255
    mean = (counts * levels).sum(1) / channels.shape[1]
    variance = (counts * levels.square()).sum(1) / channels.shape[1] - mean.square()
    return {
        "train_images": train.images,
        "train_labels": train.labels,
        "val_images": val.images,
        "val_labels": val.labels,
        "test_images": test.images,
        "test_labels": test.labels,
        "mean": mean.float(),
        "std": variance.sqrt().clamp(min=1e-3).float(),
    }


def _held(
    data: ImageData, root: Path, what: str, make: Callable[[], dict[str, Tensor]]
) -> dict[str, Tensor]:
    """What ``make`` reads: the node's one copy, or this process's own where no change to the files
    would be noticed."""
    place = data.place(root)
    before = None if place is None else origin(place)
    if place is None or before is None or before.size < SMALL:
        return make()
    told = "\n".join((what, canonical_json(data), before.digest, code(Path(__file__).parent)))
    key = hashlib.sha256(told.encode()).hexdigest()[:32]
    # A file that changed while it was read may have been read half old, half new.
    return one_copy(key, make, valid=lambda: origin(place) == before)


def _fit(split: Split, shape: Shape, *, pad: int = 0) -> Split:
    """``split`` with images of ``shape``, of which ``pad`` pixels on every side are zero."""
    images, (channels, height, width) = (
        split.images,
        (shape[0], shape[1] - 2 * pad, shape[2] - 2 * pad),
    )
    if images.shape[1] != channels:
        if channels == 3:
            images = images.expand(-1, 3, -1, -1)
        else:
            luma = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
            images = (images * luma).sum(1, keepdim=True).round().to(torch.uint8)
    if images.shape[2:] != (height, width):
        scaled = functional.interpolate(
            images.float(), (height, width), mode="bilinear", antialias=True
        )
        images = scaled.round().clamp(0, 255).to(torch.uint8)
    if pad:
        images = functional.pad(images, (pad, pad, pad, pad))
    return Split(images.contiguous(), split.labels)


def data_root(chosen: str | os.PathLike[str] | None = None) -> Path:
    """The folder that data sets are read from: ``chosen``, else ``KDRAY_DATA``, else
    ``~/.cache/kdray``."""
    return Path(chosen or os.environ.get("KDRAY_DATA") or "~/.cache/kdray").expanduser().absolute()
