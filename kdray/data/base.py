"""Image data sets as uint8 tensors with a fixed train/validation/test split."""

from __future__ import annotations

import hashlib
import os
from abc import abstractmethod
from collections.abc import Callable
from functools import lru_cache, partial
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, NamedTuple

import torch
from jaxtyping import Float32, Int64, UInt8
from pydantic import Field, field_validator, model_validator
from torch import Tensor
from torch.nn import functional

from kdray.core import InputError, Several, Value, canonical_json, tag_of
from kdray.data.augmentation import Augment, Augmentation
from kdray.data.origin import origin
from kdray.machine.node_cache import SMALL, code, one_copy

Shape = tuple[int, int, int]
"""Channels, height, width."""
MOST_WHITENED = 3 * 64 * 64
"""Pixels of an image, over all channels, that ZCA is done on: the square of it is a matrix (0.6 GiB
at this size)."""


class Split(NamedTuple):
    """Images and labels of one split, on one device."""

    images: UInt8[Tensor, "N C H W"]
    labels: Int64[Tensor, "N"]

    def to(self, device: torch.device) -> Split:
        return Split(self.images.to(device), self.labels.to(device))

    def first(self, count: int | None) -> Split:
        """The first ``count`` images, or all of them."""
        return self if count is None else Split(self.images[:count], self.labels[:count])

    def sample(self, examples: int | None) -> Split:
        """``examples`` images that stand for the split, in its order, or all of them; see
        :func:`sample`."""
        return self if examples is None else self.take(sample(self.labels, examples))

    def take(self, index: Int64[Tensor, "n"]) -> Split:
        return Split(self.images[index], self.labels[index])


class Dataset(NamedTuple):
    """The three splits of a data set. Nothing is ever fitted to or chosen on ``test``."""

    train: Split
    val: Split
    test: Split
    mean: Float32[Tensor, "C"]
    """Per channel, of the training images in [0, 1]."""
    std: Float32[Tensor, "C"]
    omitted: tuple[int, ...] = ()
    """Classes without an image in ``train``; ``val`` and ``test`` have them."""

    def to(self, device: torch.device) -> Dataset:
        return self._replace(
            train=self.train.to(device), val=self.val.to(device), test=self.test.to(device)
        )


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

    @abstractmethod
    def read(self, root: Path) -> tuple[Split, Split, Split]:
        """The train, validation and test splits at their native shape."""

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
    train, val, test = (data.fitted(split) for split in data.read(root))
    if data.omit_classes:
        train = train.take(
            torch.nonzero(~torch.isin(train.labels, torch.tensor(data.omit_classes))).flatten()
        )
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


def sample(labels: Int64[Tensor, "N"], count: int, *, salt: str = "examples") -> Int64[Tensor, "n"]:
    """The sorted positions of ``count`` of ``labels`` (at most all) that stand for them: the same
    in every process, each class in its proportion, and a larger sample holds a smaller
    one.

    The image of rank r (by a hash of salt and position) of the n in class c comes at (r + u) / n,
    where u is in [0, 1) and a hash of salt and class; the sample is what comes first.
    """
    if count >= len(labels):
        return torch.arange(len(labels), device=labels.device)
    listed = labels.tolist()
    by_class: dict[int, list[int]] = {}
    for position in sorted(range(len(listed)), key=lambda at: _hash(f"{salt}:{at}")):
        by_class.setdefault(listed[position], []).append(position)
    places = [
        ((rank + int.from_bytes(_hash(f"{salt}:class {label}")) / 2**64) / len(members), position)
        for label, members in by_class.items()
        for rank, position in enumerate(members)
    ]
    chosen = sorted(position for _, position in sorted(places)[:count])
    return torch.tensor(chosen, dtype=torch.int64, device=labels.device)


def _hash(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=8).digest()


def stratified(
    labels: Int64[Tensor, "N"], count: int, *, salt: str
) -> tuple[Int64[Tensor, "rest"], Int64[Tensor, "n"]]:
    """Split the indices of ``labels`` into the rest and ``count`` that hold every class in
    proportion.

    Within a class images are taken in the order of a hash of (salt, index): no library's random
    numbers, which may change between versions, decide what is validation data. Both parts are
    sorted.
    """
    total = len(labels)
    if not 0 < count < total:
        raise InputError(f"a part of {count} images cannot be split off {total}")
    taken: list[int] = []
    shares: list[tuple[float, int, list[int]]] = []
    for label in labels.unique().tolist():
        members = torch.nonzero(labels == label).flatten().tolist()
        members.sort(key=lambda index: _hash(f"{salt}:{index}"))
        whole, fraction = divmod(count * len(members), total)
        taken += members[:whole]
        shares.append((-fraction / total, label, members[whole:]))
    for _, _, members in sorted(shares)[
        : count - len(taken)
    ]:  # largest remainders get the images that rounding left
        taken.append(members[0])
    chosen = torch.zeros(total, dtype=torch.bool)
    chosen[taken] = True
    return torch.nonzero(~chosen).flatten(), torch.nonzero(chosen).flatten()
